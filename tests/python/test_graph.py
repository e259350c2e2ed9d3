"""Graphs: a replay does what a call would have done, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from devices import host
from striate import data, models, nn, optim
from striate.train import Trainer, load_dataset, recipe


def small_net():
    st.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(8 * 3 * 3, 5),
    )


def batches(on, count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        images = rng.standard_normal((6, 3, 16, 16)).astype(np.float32)
        yield on.tensor(images), on.tensor(rng.integers(0, 5, 6))


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
}


def train(on, optimizer_name, captured, autocast=False, steps=6):
    """The state after a few steps with a moving learning rate, the losses, and the generator's."""
    model = small_net().train().to(on.device)
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    schedule = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)

    def step(images, labels):
        optimizer.zero_grad()
        with st.autocast(enabled=autocast):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    run = st.graph(step) if captured else step
    losses = []
    for images, labels in batches(on, steps):
        losses.append(run(images, labels).item())
        schedule.step()
    state = {name: host(x).copy() for name, x in model.state_dict().items()}
    buffers = optimizer.state_dict()["state"]
    state |= {f"{i}.{k}": host(x).copy() for i, entry in buffers.items() for k, x in entry.items()}
    return state, losses, st.get_rng_state()


@pytest.mark.parametrize(
    ("name", "autocast"), [*((name, False) for name in OPTIMIZERS), ("momentum", True)]
)
def test_training_equals_eager_bit_for_bit(name, autocast, on):
    expected, losses, generator = train(on, name, captured=False, autocast=autocast)
    state, graph_losses, graph_generator = train(on, name, captured=True, autocast=autocast)
    assert graph_losses == losses
    assert graph_generator == generator
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(state[key], value, err_msg=key)


@pytest.mark.parametrize("autocast", [False, True])
def test_inference_keeps_packed_weights_and_notices_an_edit(autocast, on):
    """With autocast, weights that are converted as well."""
    model = models.lenet5().to(on.device).eval()
    images = on.randn((4, 1, 32, 32))

    @st.graph
    def infer(x):
        with st.no_grad(), st.autocast(enabled=autocast):
            return model(x)

    def eager():
        with st.no_grad(), st.autocast(enabled=autocast):
            return host(model(images)).copy()

    expected = eager()
    for _ in range(3):
        np.testing.assert_array_equal(host(infer(images)), expected)
    with st.no_grad():
        next(model.parameters()).mul_(2.0)
    with pytest.raises(st.AutogradError, match=r"^graph: expected a weight as it was"):
        infer(images)
    infer.reset()
    assert not np.array_equal(eager(), expected)
    np.testing.assert_array_equal(host(infer(images)), eager())


def test_eager_use_of_trained_weights_sees_the_replay(on):
    model = nn.Conv2d(2, 2, 3).to(on.device)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @st.graph
    def step(x):
        optimizer.zero_grad()
        loss = (model(x) * model(x)).sum()
        loss.backward()
        optimizer.step()
        return loss

    x = on.randn((1, 2, 5, 5))
    for _ in range(3):
        step(x)
        with st.no_grad():  # would be stale if the replay did not count as an edit
            result = host(model(x))
            fresh = F.conv2d(x, model.weight.detach().clone(), model.bias.detach().clone())
        np.testing.assert_array_equal(result, host(fresh))


def test_memory_of_a_graph_is_its_own(on):
    """Results of eager code live through replays, and inputs may be dropped."""

    @st.graph
    def double(x):
        return (x + x) * 1.0

    x = on.ones((1000,))
    double(x)
    first = double(x).clone()
    held = [on.full((1000,), float(i)) for i in range(20)]
    del x
    result = double(on.full((1000,), 4.0))
    assert first.sum().item() == 2000
    assert result.sum().item() == 8000
    assert [host(h)[0] for h in held] == list(range(20))


def test_a_result_outlives_its_graph(on):
    double = st.graph(lambda x: x + x)
    x = on.ones((100,))
    double(x)
    result = double(x)
    del double
    on.empty((100,)).fill_(7.0)
    assert result.sum().item() == 200


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda on, x: x.sum().item(), "item: reading an element on (cpu|cuda)"),
        (lambda on, x: x.cpu().numpy(), "lend: lending elements|to: a copy to another device"),
        (
            lambda on, x: on.tensor([1.0]) + x,
            "tensor: expected no graph under capture|to: a copy from another device",
        ),
    ],
    ids=["item", "numpy", "tensor"],
)
def test_reading_during_a_capture(function, message, on):
    captured = st.graph(lambda x: function(on, x))
    x = on.ones((3,))
    captured(x)
    state = st.get_rng_state()
    with pytest.raises(st.DeviceError, match=message):
        captured(x)
    assert st.get_rng_state() == state
    assert (x + 1).sum().item() == 6  # the capture is over


def test_gradients_must_start_from_none(on):
    weight = on.ones((3,), requires_grad=True)

    @st.graph
    def step(x):
        (weight * x).sum().backward()

    x = on.ones((3,))
    step(x)
    with pytest.raises(st.AutogradError, match="zero_grad"):
        step(x)


def test_label_out_of_range(on):
    @st.graph
    def loss(scores, labels):
        return F.cross_entropy(scores, labels)

    scores, good = on.randn((4, 3)), on.tensor([0, 1, 2, 0])
    loss(scores, good)
    loss(scores, good)

    def wrong():
        loss(scores, on.tensor([0, 3, 1, 1]))
        loss.check()  # the CPU has raised by now

    with pytest.raises(
        IndexError, match=r"cross_entropy: expected labels in \[0, 3\), got (3|others)"
    ):
        wrong()
    assert np.isfinite(loss(scores, good).item())


def test_other_arguments(on):
    add = st.graph(lambda a, b: a + b)
    with pytest.raises(st.ArgumentError, match="expected tensors as arguments, got none"):
        add()
    with pytest.raises(st.ArgumentError, match="got Tensor, int"):
        add(on.ones((2,)), 1)
    add(on.ones((2,)), on.ones((2,)))
    add(on.ones((2,)), on.ones((2,)))
    for bad in (on.ones((3,)), on.ones((2,), dtype=st.float64)):
        with pytest.raises(
            st.ShapeError, match=r"expected arguments as captured, .*float32 \(2,\)"
        ):
            add(bad, on.ones((2,)))


def test_optimizer_needs_its_buffers_first(on):
    weight = nn.Linear(2, 2).to(on.device)
    optimizer = optim.SGD(weight.parameters(), lr=0.1, momentum=0.9)
    graph = st._core.Graph(st.Device(on.device))
    x = on.ones((1, 2))

    def step():
        optimizer.zero_grad()
        weight(x).sum().backward()
        optimizer.step()

    with pytest.raises(st.ArgumentError, match="take one step without it"):
        graph.capture(step)
    with pytest.raises(st.DeviceError, match="expected a capture"):
        graph.replay()


def test_the_trainer_replays_its_steps(tmp_path, device):
    """The same checkpoint, byte for byte, with and without; a last batch of another size too."""
    train_set = data.Subset(load_dataset("lenet5", "digits", train=True), range(70))
    files = []
    for graph in (False, True):
        trainer = Trainer(
            recipe("lenet5", "digits", epochs=2), train_set, device=device, graph=graph
        )
        while not trainer.finished:
            trainer.run_epoch()
        files.append(tmp_path / f"{graph}.safetensors")
        trainer.save(files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_events(device):
    start, end = (st.cuda.Event(device) for _ in range(2))
    with pytest.raises(st.ArgumentError, match="two recorded events"):
        start.elapsed_time(end)
    start.record()
    end.record()
    assert start.elapsed_time(end) >= 0
