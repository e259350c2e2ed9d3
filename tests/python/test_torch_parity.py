"""Forward and gradients of every op against torch, and what the layers start with."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
from cases import CASES, STRIATE, striate_library, torch_library
from striate import nn

torch = pytest.importorskip("torch", reason="torch is the oracle of these tests")
TORCH = torch_library()

# Relative L2; the float32 gate is DESIGN's for direct evaluation.
GATE = {np.float32: 1e-6, np.float64: 1e-14}


def error(got: np.ndarray, expected: np.ndarray) -> float:
    """Relative L2, absolute where the reference is next to zero (a gradient that cancels)."""
    assert got.shape == expected.shape
    scale = max(float(np.linalg.norm(expected)), 1e-2)
    return float(np.linalg.norm(got.astype(np.float64) - expected)) / scale


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", [c for c in CASES if c.torch], ids=lambda case: case.name)
def test_op(case, dtype, device):
    """torch runs in float64 on the same values: its float32 noise is not ours to match."""
    arrays = case.inputs(dtype)
    ours = [st.tensor(a, requires_grad=True, device=device) for a in arrays]
    theirs = [torch.tensor(a.astype(np.float64), requires_grad=True) for a in arrays]
    y, expected = case.fn(striate_library(device), *ours), case.fn(TORCH, *theirs)
    assert tuple(y.shape) == tuple(expected.shape)
    assert y.detach().cpu().numpy().dtype == dtype
    v = np.random.default_rng(11).standard_normal(tuple(y.shape)).astype(dtype)
    y.backward(st.tensor(v, device=device))
    expected.backward(torch.tensor(v.astype(np.float64)))
    assert error(y.detach().cpu().numpy(), expected.detach().numpy()) <= GATE[dtype]
    for got, want in zip(ours, theirs, strict=True):
        assert error(got.grad.cpu().numpy(), want.grad.numpy()) <= GATE[dtype]


# Kernels flush denormals: a result, or an operand, below this may count as zero.
TINY = float(np.finfo(np.float32).tiny)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 2e-38, 3e38, -1.0], np.float32)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_special_values(name, device):
    ours, theirs = (
        st.tensor(SPECIAL, requires_grad=True, device=device),
        torch.tensor(SPECIAL, requires_grad=True),
    )
    y, expected = getattr(STRIATE.F, name)(ours), getattr(TORCH.F, name)(theirs)
    np.testing.assert_allclose(
        y.detach().cpu().numpy(), expected.detach().numpy(), rtol=1e-6, atol=TINY
    )
    y.backward(st.ones(y.shape, device=device))
    expected.backward(torch.ones_like(expected))
    np.testing.assert_allclose(ours.grad.cpu().numpy(), theirs.grad.numpy(), rtol=1e-6, atol=TINY)


@pytest.mark.parametrize(
    "name", ["__add__", "__sub__", "__mul__", "__truediv__", "__pow__", "__eq__", "__lt__"]
)
def test_special_pairs(name, device):
    a, b = (m.reshape(-1) for m in np.meshgrid(SPECIAL, SPECIAL))
    got = getattr(st.tensor(a, device=device), name)(st.tensor(b, device=device)).cpu().numpy()
    expected = getattr(torch.tensor(a), name)(torch.tensor(b)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=TINY)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "abs", "sum", "mean", "max"])
def test_special_unary(name, device):
    got = getattr(st.tensor(SPECIAL, device=device), name)().cpu().numpy()
    expected = getattr(torch.tensor(SPECIAL), name)().numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(-90.0, 90.0), (-5.0, 5.0), (-1e-3, 1e-3)])
@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh"])
def test_transcendental_accuracy(name, low, high, device):
    """Within a few units in the last place, everywhere: element by element, not on average."""
    x = np.linspace(low, high, 20001).astype(np.float32)
    got = getattr(st.tensor(x, device=device), name)().cpu().numpy()
    expected = getattr(torch.tensor(x.astype(np.float64)), name)().numpy()
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(got, expected.astype(np.float32), rtol=1e-6, atol=TINY)


def test_large_logits(device):
    """Softmax and its losses stay finite where exp would overflow or vanish."""
    x = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [88.0, 89.0, 90.0]], np.float32)
    for name in ("softmax", "log_softmax"):
        got = getattr(STRIATE.F, name)(st.tensor(x, device=device), 1).cpu().numpy()
        expected = getattr(TORCH.F, name)(torch.tensor(x), 1).numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    ours = striate_library(device)
    got = ours.F.cross_entropy(st.tensor(x, device=device), ours.ints([1, 0, 2])).item()
    expected = TORCH.F.cross_entropy(torch.tensor(x), TORCH.ints([1, 0, 2])).item()
    assert got == pytest.approx(expected, rel=1e-6)


def test_all_targets_ignored_is_nan(device):
    ours = striate_library(device)
    x, labels = st.zeros((2, 3), device=device), ours.ints([-100, -100])
    assert np.isnan(ours.F.cross_entropy(x, labels).item())
    total = ours.F.cross_entropy(x, labels, reduction="sum")
    assert total.item() == 0


@pytest.mark.parametrize("momentum", [0.1, 0.5, 1.0, 0.0])
def test_batch_norm_running_statistics(momentum, device):
    ours = nn.BatchNorm2d(3, momentum=momentum).to(device)
    theirs = torch.nn.BatchNorm2d(3, momentum=momentum)
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = (rng.standard_normal((2, 3, 4, 5)) * 2 + 1).astype(np.float32)
        ours(st.tensor(x, device=device))
        theirs(torch.tensor(x))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            np.testing.assert_allclose(
                getattr(ours, name).cpu().numpy(),
                getattr(theirs, name).numpy(),
                rtol=1e-6,
                atol=1e-7,
            )
    ours.eval(), theirs.eval()
    got, expected = ours(st.tensor(x, device=device)), theirs(torch.tensor(x))
    np.testing.assert_allclose(got.detach().cpu().numpy(), expected.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 64, 2, 2), (2, 256, 4, 4), (2, 128, 8, 8), (8, 64, 28, 28)])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_batch_variance_is_accurate(shape, offset):
    """To two roundings, or twice torch's error."""
    rng = np.random.default_rng(1)
    x = (rng.standard_normal(shape) + offset).astype(np.float32)
    exact = x.astype(np.float64).var((0, 2, 3), ddof=1)
    ours, theirs = (library.zeros(shape[1]) for library in (st, torch))
    st.nn.functional.batch_norm(st.tensor(x), st.zeros(shape[1]), ours, training=True, momentum=1.0)
    torch.nn.functional.batch_norm(
        torch.tensor(x), torch.zeros(shape[1]), theirs, training=True, momentum=1.0
    )
    errors = [np.linalg.norm(v.numpy() - exact) / np.linalg.norm(exact) for v in (ours, theirs)]
    assert errors[0] <= max(2 * errors[1], 1.5e-7)


LAYERS = {
    "conv1d": lambda m: m.Conv1d(4, 8, 3, stride=2, padding=1),
    "conv2d": lambda m: m.Conv2d(6, 12, (3, 5), groups=3),
    "conv2d-no-bias": lambda m: m.Conv2d(6, 12, 3, bias=False),
    "conv_transpose2d": lambda m: m.ConvTranspose2d(6, 4, 3, groups=2),
    "linear": lambda m: m.Linear(50, 40),
    "linear-no-bias": lambda m: m.Linear(50, 40, bias=False),
    "batch_norm": lambda m: m.BatchNorm2d(7),
    "batch_norm-plain": lambda m: m.BatchNorm2d(7, affine=False),
    "batch_norm-untracked": lambda m: m.BatchNorm2d(7, track_running_stats=False),
    "sequential": lambda m: m.Sequential(m.Conv2d(1, 2, 3), m.ReLU(), m.Flatten(), m.Linear(8, 3)),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layer_state(make):
    """The same state_dict keys, shapes and types, and the same bounds of the initial values."""
    st.manual_seed(0)
    ours, theirs = make(nn), make(torch.nn)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    for key, value in expected.items():
        got = state[key].numpy()
        assert got.shape == tuple(value.shape), key
        assert got.dtype == value.numpy().dtype, key
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]


@pytest.mark.parametrize(
    ("make", "fan_in"),
    [
        (lambda: nn.Conv2d(16, 64, 5), 16 * 25),
        (lambda: nn.Conv2d(16, 64, 5, groups=4), 4 * 25),
        (lambda: nn.Conv1d(32, 64, 3), 32 * 3),
        (lambda: nn.Linear(400, 300), 400),
        (lambda: nn.ConvTranspose2d(64, 16, 5), 16 * 25),
    ],
)
def test_initial_values_are_kaiming_uniform(make, fan_in):
    """Uniform in ±1/sqrt(fan_in), weight and bias: what PyTorch's reset_parameters amounts to."""
    st.manual_seed(1)
    layer = make()
    bound = fan_in**-0.5
    for p in layer.parameters():
        values = p.detach().numpy().reshape(-1)
        assert np.abs(values).max() <= bound * (1 + 1e-6)
        assert np.abs(values).max() >= bound * (1 - 8 / values.size)
        sigma = bound / 3**0.5
        assert abs(values.mean()) < 5 * sigma / values.size**0.5
        if values.size > 1000:
            assert values.std() == pytest.approx(sigma, rel=0.03)
