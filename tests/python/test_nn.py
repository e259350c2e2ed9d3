"""Modules: registration, state, modes, hooks, errors."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import reference as ref
import striate as st
import striate.nn.functional as F
from devices import host
from striate import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.bn = nn.BatchNorm2d(2)
        self.scale = nn.Parameter(st.ones((1,)))
        self.register_buffer("steps", st.zeros((), dtype=st.int64))

    def forward(self, x):
        return F.relu(self.bn(self.conv(x))) * self.scale


def bits(module):
    return {k: host(v).tobytes() for k, v in module.state_dict().items()}


def test_registration():
    block = Block()
    assert [n for n, _ in block.named_parameters()] == [
        "scale", "conv.weight", "conv.bias", "bn.weight", "bn.bias",
    ]  # fmt: skip
    assert [n for n, _ in block.named_buffers()] == [
        "steps", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked",
    ]  # fmt: skip
    assert [n for n, _ in block.named_children()] == ["conv", "bn"]
    assert [n for n, _ in block.named_modules()] == ["", "conv", "bn"]
    assert list(block.state_dict()) == [
        "scale", "steps", "conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean",
        "bn.running_var", "bn.num_batches_tracked",
    ]  # fmt: skip
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in block.parameters())


def test_attributes():
    block = Block()
    with pytest.raises(AttributeError, match="missing"):
        _ = block.missing
    block.extra = nn.Linear(2, 2)
    assert "extra.weight" in block.state_dict()
    del block.extra
    assert "extra.weight" not in block.state_dict()
    block.scale = nn.Parameter(st.zeros((1,)))
    assert dict(block.named_parameters())["scale"].item() == 0


def test_init_of_the_base_may_be_left_out():
    class Terse(nn.Module):
        def __init__(self):
            self.conv = nn.Conv2d(1, 1, 1)

    assert list(Terse().state_dict()) == ["conv.weight", "conv.bias"]


def test_shared_parameters_are_listed_once(on):
    linear = nn.Linear(3, 3).to(on.device)
    model = nn.Sequential(linear, linear)
    assert len(list(model.parameters())) == 2
    model(on.ones((1, 3))).sum().backward()
    assert linear.weight.grad is not None


def test_modes(on):
    model = nn.Sequential(nn.Sequential(nn.Dropout(0.5)), nn.BatchNorm2d(1))
    assert model.training
    assert model[0][0].training
    assert model.eval() is model
    assert not model.training
    assert not model[0][0].training
    model.train()
    assert model[0][0].training
    x = on.ones((100,))
    assert 0 < np.count_nonzero(host(model[0][0](x))) < 100
    np.testing.assert_array_equal(host(model[0][0].eval()(x)), 1)


def test_dropout_scales_and_counts(on):
    y = host(F.dropout(on.ones((100_000,)), 0.3))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-6)
    assert np.count_nonzero(y) == pytest.approx(70_000, rel=0.02)
    assert F.dropout(on.ones((10,)), 1.0).sum().item() == 0
    x = on.rand((10,))
    np.testing.assert_array_equal(host(F.dropout(x, 0.0)), host(x))


def test_zero_grad_and_requires_grad(on):
    model = nn.Sequential(nn.Linear(3, 3)).to(on.device)
    model(on.ones((1, 3))).sum().backward()
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(False)
    assert not model(on.ones((1, 3))).requires_grad


def test_sequential_container(on):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    assert len(model) == 3
    assert isinstance(model[1], nn.ReLU)
    assert isinstance(model[-1], nn.Linear)
    assert len(model[:2]) == 2
    assert [type(m).__name__ for m in model] == ["Linear", "ReLU", "Linear"]
    model.append(nn.LogSoftmax(1))
    y = model.to(on.device)(on.rand((5, 4)))
    np.testing.assert_allclose(np.exp(host(y)).sum(1), 1, rtol=1e-6)
    with pytest.raises(IndexError):
        _ = model[7]


def test_apply_visits_children_first():
    seen = []
    model = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh())
    assert model.apply(lambda m: seen.append(type(m).__name__)) is model
    assert seen == ["ReLU", "Sequential", "Tanh", "Sequential"]


def test_to(on):
    block = Block().to(on.device).to(st.float64)
    assert block.conv.weight.dtype is st.float64
    assert block.bn.running_mean.dtype is st.float64
    assert block.steps.dtype is st.int64  # integers keep their type
    assert block(on.zeros((2, 1, 4, 4), dtype=st.float64)).dtype is st.float64
    parameter = block.scale
    assert block.to(on.device).scale is parameter


def test_printing():
    text = repr(Block())
    assert text.splitlines()[0] == "Block("
    assert "  (conv): Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))" in text
    assert "(bn): BatchNorm2d(2, eps=1e-05, momentum=0.1" in text


# --- State ----------------------------------------------------------------------------------------


def test_state_round_trip(on):
    a, b = Block().to(on.device), Block().to(on.device)
    assert bits(a) != bits(b)
    result = b.load_state_dict(a.state_dict())
    assert bits(a) == bits(b)
    assert not result.missing_keys
    assert not result.unexpected_keys


def test_state_dict_is_detached_and_shares(on):
    block = Block().to(on.device)
    state = block.state_dict()
    assert not any(t.requires_grad for t in state.values())
    with st.no_grad():
        block.scale.fill_(5)
    assert state["scale"].item() == 5


def test_loading_copies_and_keeps_the_parameters(on):
    block = Block().to(on.device)
    weight = block.conv.weight
    source = {k: v.clone() for k, v in Block().to(on.device).state_dict().items()}
    block.load_state_dict(source)
    assert block.conv.weight is weight
    assert weight.requires_grad
    assert weight.is_leaf
    with st.no_grad():
        source["conv.weight"].fill_(9)
    assert not (host(weight) == 9).any()


def test_all_errors_are_listed_and_nothing_is_loaded(on):
    block = Block().to(on.device)
    before = bits(block)
    state = {k: v.clone() + 1 for k, v in Block().to(on.device).state_dict().items()}
    del state["scale"], state["bn.bias"]
    state["conv.weight"] = on.zeros((2, 1, 5, 5))
    state["bn.running_mean"] = on.zeros((3,))
    state["stranger"] = on.zeros((1,))
    with pytest.raises(st.ShapeError) as caught:
        block.load_state_dict(state)
    message = str(caught.value)
    for part in ("scale", "bn.bias", "conv.weight", "(2, 1, 3, 3)", "(2, 1, 5, 5)",
                 "bn.running_mean", "(3", "stranger"):  # fmt: skip
        assert part in message
    assert bits(block) == before


def test_not_strict(on):
    block = Block().to(on.device)
    state = {k: v.clone() + 1 for k, v in block.state_dict().items()}
    del state["scale"]
    state["stranger"] = on.zeros((1,))
    result = block.load_state_dict(state, strict=False)
    assert list(result.missing_keys) == ["scale"]
    assert list(result.unexpected_keys) == ["stranger"]
    np.testing.assert_array_equal(host(block.bn.bias), 1)
    before = bits(block)
    with pytest.raises(st.ShapeError, match=r"conv\.weight"):
        block.load_state_dict({"conv.weight": on.zeros((9,))}, strict=False)
    assert bits(block) == before


def test_buffers():
    block = Block()
    block.register_buffer("hidden", st.ones((1,)), persistent=False)
    assert "hidden" not in block.state_dict()
    assert "hidden" in dict(block.named_buffers())
    block.steps = st.ones((), dtype=st.int64)
    assert block.state_dict()["steps"].item() == 1


def test_deepcopy(on):
    a = Block().to(on.device)
    a(st.rand((2, 1, 4, 4), device=on.device)).sum().backward()
    b = copy.deepcopy(a)
    assert isinstance(b.conv.weight, nn.Parameter)
    assert b.conv.weight.grad is None  # as in torch, whose tensors alone keep it
    a.zero_grad()
    assert bits(a) == bits(b)
    with st.no_grad():
        b.conv.weight.fill_(0)
    assert bits(a) != bits(b)
    assert b.conv.weight.requires_grad
    b(on.rand((2, 1, 4, 4))).sum().backward()
    assert a.conv.weight.grad is None


# --- Hooks ----------------------------------------------------------------------------------------


def test_forward_hooks():
    seen = []
    linear = nn.Linear(2, 2)
    before = linear.register_forward_pre_hook(lambda m, args: seen.append(("pre", m, args)))
    after = linear.register_forward_hook(lambda m, args, out: seen.append(("post", m, out.shape)))
    x = st.ones((1, 2))
    linear(x)
    assert [s[0] for s in seen] == ["pre", "post"]
    assert seen[0][1] is linear
    assert seen[0][2][0] is x
    assert seen[1][2] == (1, 2)
    before.remove(), after.remove()
    linear(x)
    assert len(seen) == 2


def test_hooks_may_replace(on):
    linear = nn.Linear(2, 2, bias=False).to(on.device)
    linear.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
    linear.register_forward_hook(lambda m, args, out: out + 1)
    np.testing.assert_array_equal(host(linear(on.ones((1, 2)))), [[1, 1]])


# --- Layers ---------------------------------------------------------------------------------------


def test_batch_norm_against_the_reference(rng, on):
    layer = nn.BatchNorm2d(3).to(on.device)
    x = rng.standard_normal((4, 3, 5, 6)).astype(np.float32)
    y = host(layer(on.tensor(x)))
    expected, mean, _, unbiased = ref.batch_norm(x, np.ones(3), np.zeros(3))
    np.testing.assert_allclose(y, expected, atol=2e-6)
    np.testing.assert_allclose(host(layer.running_mean), 0.1 * mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(host(layer.running_var), 0.9 + 0.1 * unbiased, rtol=1e-5)
    assert layer.num_batches_tracked.item() == 1


def test_batch_norm_of_large_means_is_accurate(rng, on):
    """Naive E[x^2] - E[x]^2 loses all digits here."""
    x = (rng.standard_normal((64, 2, 8, 8)) + 3000).astype(np.float32)
    y = host(nn.BatchNorm2d(2).to(on.device)(on.tensor(x)))
    np.testing.assert_allclose(y, ref.batch_norm(x, np.ones(2), np.zeros(2))[0], atol=1e-3)


def test_local_response_norm_and_pools_against_the_reference(rng, on):
    x = rng.standard_normal((2, 7, 9, 8)).astype(np.float32)
    t = on.tensor(x)
    checks = [
        (nn.LocalResponseNorm(5), ref.local_response_norm(x, 5)),
        (nn.MaxPool2d(3, 2, 1), ref.max_pool2d(x, 3, 2, 1)[0]),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True), ref.avg_pool2d(x, 3, 2, 1, True)),
        (nn.AdaptiveAvgPool2d((4, 3)), ref.adaptive_avg_pool2d(x, (4, 3))),
        (nn.LogSoftmax(1), ref.log_softmax(x, 1)),
    ]
    for layer, expected in checks:
        np.testing.assert_allclose(host(layer(t)), expected, rtol=1e-5, atol=1e-6)


def test_losses_against_the_reference(rng, on):
    logits = rng.standard_normal((6, 5, 3)).astype(np.float32)
    labels = rng.integers(0, 5, (6, 3))
    labels[0, 0] = 2
    for options in ({}, {"label_smoothing": 0.1}, {"ignore_index": 2}):
        got = nn.CrossEntropyLoss(**options)(on.tensor(logits), on.tensor(labels)).item()
        assert got == pytest.approx(ref.cross_entropy(logits, labels, **options), rel=1e-6)
    x, y = rng.standard_normal((2, 4, 5)).astype(np.float32)
    assert nn.MSELoss()(on.tensor(x), on.tensor(y)).item() == pytest.approx(
        float(((x.astype(np.float64) - y) ** 2).mean()), rel=1e-6
    )
    logp = ref.log_softmax(logits, 1).astype(np.float32)
    got = nn.NLLLoss()(on.tensor(logp), on.tensor(labels)).item()
    assert got == pytest.approx(ref.cross_entropy(logits, labels), rel=1e-5)


@pytest.mark.parametrize(("layer", "shape", "expected"), [
    (lambda: nn.Flatten(), (2, 3, 4), (2, 12)),
    (lambda: nn.Identity(), (2, 3), (2, 3)),
    (lambda: nn.Sigmoid(), (2, 3), (2, 3)),
    (lambda: nn.Tanh(), (2, 3), (2, 3)),
    (lambda: nn.ReLU(), (2, 3), (2, 3)),
    (lambda: nn.MaxPool1d(2), (2, 3, 5), (2, 3, 2)),
    (lambda: nn.Conv1d(3, 4, 3), (2, 3, 5), (2, 4, 3)),
    (lambda: nn.ConvTranspose2d(3, 4, 2, stride=2), (2, 3, 5, 5), (2, 4, 10, 10)),
    (lambda: nn.BatchNorm1d(3), (2, 3), (2, 3)),
    (lambda: nn.Softmax(1), (2, 3), (2, 3)),
])  # fmt: skip
def test_layer_shapes(layer, shape, expected, on):
    assert layer().to(on.device)(on.rand(shape)).shape == expected


@pytest.mark.usefixtures("without_winograd")
def test_weights_edited_in_place_are_repacked(rng, on):
    """Packed weights are cached by version; an optimizer's edit must reach the next call."""
    x, w = (rng.integers(-8, 9, s).astype(np.float32) for s in ((1, 8, 6, 6), (8, 8, 3, 3)))
    tx, tw = on.tensor(x), on.tensor(w)
    F.conv2d(tx, tw, padding=1)
    with st.no_grad():
        tw.mul_(2)
    got = host(F.conv2d(tx, tw, padding=1))
    np.testing.assert_array_equal(got, ref.conv2d(x, 2 * w, padding=1))


def test_weights_edited_through_numpy_are_used() -> None:
    """Packed weights must not outlive an edit that bypasses the version counter."""
    conv = nn.Conv2d(3, 4, 3)
    x = st.randn(1, 3, 8, 8)
    with st.no_grad():
        conv(x)
        array = conv.weight.detach().numpy()
        conv(x)
        array[:] = 0
        assert (conv(x).numpy() == conv.bias.detach().numpy()[:, None, None]).all()
        del array
        conv(x)
        capsule = np.from_dlpack(conv.weight.detach())
        capsule[:] = 0
        conv.bias.fill_(0)
        assert not conv(x).numpy().any()
