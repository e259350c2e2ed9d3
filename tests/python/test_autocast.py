"""Mixed precision: which types come out of which ops, float32 gradients, and training beside
PyTorch's autocast.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from devices import host
from striate import models, nn, optim
from striate.train import recipe


def test_products_in_bfloat16_and_sums_in_float32(on):
    x, w = on.randn((2, 4, 8, 8)), on.randn((6, 4, 3, 3))
    with st.autocast("bfloat16"):
        y = F.conv2d(x, w, on.randn((6,)))
        assert y.dtype is st.bfloat16
        assert F.relu(F.max_pool2d(y + y, 2)).dtype is st.bfloat16
        assert F.linear(x, on.randn((5, 8)), on.randn((5,))).dtype is st.bfloat16
        assert (x @ on.randn((8, 3))).dtype is st.bfloat16
        assert F.conv1d(on.randn((1, 4, 9)), on.randn((2, 4, 3))).dtype is st.bfloat16
        assert F.conv_transpose2d(y, on.randn((6, 2, 3, 3))).dtype is st.bfloat16
        assert F.batch_norm(y, None, None, on.ones(6), on.zeros(6), True).dtype is st.bfloat16
        for function in (lambda t: F.softmax(t, 1), lambda t: F.log_softmax(t, 1), st.Tensor.sum,
                         st.Tensor.mean, lambda t: t + on.ones((6, 1, 1)),
                         lambda t: F.mse_loss(t, on.zeros(t.shape)),
                         lambda t: st.cat([t, on.zeros(t.shape)])):  # fmt: skip
            assert function(y).dtype is st.float32
        assert F.conv2d(x.to("float64"), w.to("float64")).dtype is st.float64
    assert F.conv2d(x, w).dtype is st.float32


def test_scope_nests_follows_the_thread_and_ends_with_an_exception():
    assert not st.is_autocast_enabled()
    seen = []
    with st.autocast("bfloat16"):
        assert st.is_autocast_enabled()
        with st.autocast(enabled=False):
            assert not st.is_autocast_enabled()
        thread = threading.Thread(target=lambda: seen.append(st.is_autocast_enabled()))
        thread.start()
        thread.join()
        assert st.is_autocast_enabled()
    with pytest.raises(st.ShapeError), st.autocast():
        F.conv2d(st.ones((1, 2, 3, 3)), st.ones((1, 3, 1, 1)))
    assert seen == [False]
    assert not st.is_autocast_enabled()

    @st.autocast("bfloat16")
    def product(a, b):
        return a @ b

    assert product(st.ones((2, 3)), st.ones((3, 2))).dtype is st.bfloat16
    for dtype in ("float32", st.float64):
        with pytest.raises(st.DTypeError, match=r"autocast: expected bfloat16, got float"):
            st.autocast(dtype)


def test_a_converted_weight_is_kept_until_it_is_edited():
    weight, x = nn.Parameter(st.ones((3, 4))), st.ones((2, 4))
    with st.autocast("bfloat16"):
        first = F.linear(x, weight)
        with st.no_grad():
            weight.mul_(2.0)
        second = F.linear(x, weight)
        view = weight.detach().numpy()
        view[:] = 5
        third = F.linear(x, weight)
        view[:] = 7
        fourth = F.linear(x, weight)
        del view
        fifth = F.linear(x, weight)
    values = [y.detach().to("float32").numpy()[0, 0] for y in (first, second, third, fourth, fifth)]
    assert values == [4, 8, 20, 28, 28]


def test_gradients_are_float32_and_those_of_the_rounded_operands(on):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 20)), rng.standard_normal((7, 20))
    weight = on.tensor(w.astype(np.float32), requires_grad=True)
    bias = on.zeros(7).requires_grad_()
    source = on.tensor(x.astype(np.float32), requires_grad=True)
    with st.autocast("bfloat16"):
        loss = (F.linear(source, weight, bias) * 3.0).sum()
        assert loss.dtype is st.float32
        loss.backward()  # inside on purpose: backward itself is not converted
    assert {t.grad.dtype for t in (weight, bias, source)} == {st.float32}
    narrow = host(on.tensor(x.astype(np.float32)).to("bfloat16")).astype(np.float64)
    np.testing.assert_allclose(host(weight.grad), np.tile(3 * narrow.sum(0), (7, 1)), rtol=2.0**-8)
    assert bias.grad.tolist() == [9] * 7


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "resnet20", "squeezenet1_1"])
def test_every_kind_of_model_runs_and_trains(name, on):
    st.manual_seed(1)
    model = models.__dict__[name](num_classes=10).to(on.device)
    x = on.randn({"lenet5": (2, 1, 32, 32), "resnet20": (2, 3, 32, 32)}.get(name, (2, 3, 64, 64)))
    optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    with st.autocast("bfloat16"):
        loss = F.cross_entropy(model(x), on.tensor(np.array([1, 2])))
    loss.backward()
    optimizer.step()
    for parameter in model.parameters():
        assert parameter.grad.dtype is st.float32
        assert np.isfinite(host(parameter)).all()
    model.eval()
    with st.no_grad():
        exact = host(model(x))
        with st.autocast("bfloat16"):
            narrow, fused = model(x), model.fuse()(x)
        assert narrow.dtype is fused.dtype
    scale = np.abs(exact).max()
    for got in (narrow, fused):
        np.testing.assert_allclose(host(got), exact, atol=0.1 * scale)


def test_state_is_unchanged_when_a_step_fails(on):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(9, 2))
    model.to(on.device)
    before = {k: host(v).tobytes() for k, v in model[0].state_dict().items()}
    with pytest.raises(st.ShapeError, match="linear"), st.autocast("bfloat16"):
        model(on.ones((2, 1, 6, 6)))
    assert {k: host(v).tobytes() for k, v in model[0].state_dict().items()} == before
    assert all(p.grad is None for p in model.parameters())
    assert not st.is_autocast_enabled()


def lenet(library):
    return library.Sequential(
        library.Conv2d(1, 6, 5, padding=2), library.ReLU(), library.MaxPool2d(2),
        library.Conv2d(6, 16, 5), library.ReLU(), library.MaxPool2d(2), library.Flatten(),
        library.Linear(400, 120), library.ReLU(), library.Linear(120, 84), library.ReLU(),
        library.Linear(84, 10),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_training_beside_torch_autocast(name, on):
    """The losses of a few steps from the same weights on the same data."""
    torch = pytest.importorskip("torch")
    from striate.bench.worker.torch_twins import twin

    torch.set_num_threads(1)  # its waiting threads and ours would share few cores
    if name == "lenet5":
        model, peer, shape = lenet(nn), lenet(torch.nn), (8, 1, 28, 28)
    else:
        model, peer, shape = models.resnet20(), twin(name, 10), (8, 3, 32, 32)
    peer.load_state_dict(
        {k: torch.from_numpy(np.array(v.numpy())) for k, v in model.state_dict().items()}
    )
    model.to(on.device)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    target = rng.integers(0, 10, 8)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    peer_optimizer = torch.optim.SGD(peer.parameters(), lr=0.05, momentum=0.9)
    ours, theirs = [], []
    for _ in range(4):
        optimizer.zero_grad()
        with st.autocast("bfloat16"):
            loss = F.cross_entropy(model(on.tensor(x)), on.tensor(target))
        loss.backward()
        optimizer.step()
        ours.append(loss.item())
        peer_optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = peer(torch.from_numpy(x))
            expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(target))
        expected.backward()
        peer_optimizer.step()
        theirs.append(expected.item())
    assert ours[-1] < ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


def test_train_option(tmp_path):
    command = ("train", "lenet5", "--epochs", "2", "--autocast", "bfloat16", "--json")
    out = str(tmp_path / "lenet5.safetensors")
    result = subprocess.run(
        [sys.executable, "-m", "striate", *command, "--out", out],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(result.stdout.splitlines()[-1])["test_accuracy"] > 0.8
    with pytest.raises(st.ArgumentError, match=r"autocast of bfloat16"):
        recipe("lenet5", "digits", autocast="float16")
