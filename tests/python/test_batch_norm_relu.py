"""Batch norm with a residual and ReLU in the same op, and the modules that use it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from striate import models, nn
from striate.nn.normalization import norm_add_relu, norm_relu

# Rows narrower than a vector, wider than a block of columns; chunks of rows with a rest.
SHAPES = [(64, 10), (5, 6, 9), (4, 3, 5, 7), (3, 130, 8, 9), (2, 2100, 3, 2), (16, 64, 14, 14)]


def leaves(shape, dtype, seed=0):
    """x, weight, bias, residual and the gradient of the result."""
    rng = np.random.default_rng(seed)
    shapes = [shape, shape[1:2], shape[1:2], shape, shape]
    return [st.tensor(rng.standard_normal(s), dtype=dtype, requires_grad=True) for s in shapes]


def run(function, shape, dtype, with_residual, training):
    """The bits of the result, the running statistics and all gradients."""
    x, weight, bias, residual, grad = leaves(shape, dtype)
    mean, var = (st.full(shape[1:2], v, dtype=dtype) for v in (0.25, 1.5))
    y = function(x, mean, var, weight, bias, training, residual if with_residual else None)
    y.backward(grad.detach())
    grads = [leaf.grad for leaf in (x, weight, bias, residual)[: 4 if with_residual else 3]]
    return [t.detach().numpy().tobytes() for t in (y, mean, var, *grads)]


def in_one(x, mean, var, weight, bias, training, residual):
    return F.batch_norm(x, mean, var, weight, bias, training, residual=residual, relu=True)


def one_by_one(x, mean, var, weight, bias, training, residual):
    y = F.batch_norm(x, mean, var, weight, bias, training)
    return F.relu(y if residual is None else y + residual)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_bits_are_those_of_one_op_after_another(shape, dtype, with_residual, training, threads):
    threads(2)
    expected = run(one_by_one, shape, dtype, with_residual, training)
    for count in (1, 2, 3, 7):
        threads(count)
        assert run(in_one, shape, dtype, with_residual, training) == expected


@pytest.fixture
def threads():
    before = st.get_num_threads()
    yield st.set_num_threads
    st.set_num_threads(before)


def test_a_residual_without_relu(device):
    x, weight, bias, residual, grad = (
        t.detach().to(device) for t in leaves((4, 3, 5, 7), "float32")
    )
    residual.requires_grad = True
    y = F.batch_norm(x, None, None, weight, bias, True, residual=residual)
    plain = F.batch_norm(x, None, None, weight, bias, True)
    np.testing.assert_array_equal(
        y.detach().cpu().numpy(), (plain + residual.detach()).cpu().numpy()
    )
    y.backward(grad)
    np.testing.assert_array_equal(residual.grad.cpu().numpy(), grad.cpu().numpy())


@pytest.mark.parametrize("with_residual", [False, True])
def test_nan_passes_and_nothing_passes_zero(with_residual, device):
    """weight 0 makes every result 0, exactly; a NaN in a channel makes all of it NaN."""
    x = st.tensor(np.random.default_rng(0).standard_normal((4, 3, 2, 2)), dtype="float32")
    x[:, 2].fill_(float("nan"))
    x = x.to(device)
    x.requires_grad = True
    weight, bias = st.tensor([0.0, 1.0, 1.0], device=device), st.zeros(3, device=device)
    residual = st.zeros((4, 3, 2, 2), device=device) if with_residual else None
    y = F.batch_norm(x, None, None, weight, bias, True, residual=residual, relu=True)
    values = y.detach().cpu().numpy()
    assert (values[:, 0] == 0).all()
    assert (values[:, 1] >= 0).all()
    assert (values[:, 1] > 0).any()
    assert np.isnan(values[:, 2]).all()
    bias.requires_grad = True
    y = F.batch_norm(x, None, None, weight, bias, True, residual=residual, relu=True)
    y.backward(st.ones(y.shape, device=device))
    grad = bias.grad.cpu().numpy()
    assert grad[0] == 0
    assert grad[1] == (values[:, 1] > 0).sum()
    assert grad[2] == 16


def test_only_the_residual_is_trained(device):
    x, weight, bias, residual, grad = (
        t.detach().to(device) for t in leaves((4, 3, 5, 7), "float32")
    )
    residual.requires_grad = True
    y = F.batch_norm(x, None, None, weight, bias, True, residual=residual, relu=True)
    y.backward(grad)
    expected = np.where(y.detach().cpu().numpy() > 0, grad.cpu().numpy(), 0)
    np.testing.assert_array_equal(residual.grad.cpu().numpy(), expected)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_gradient_is_overwritten_only_where_nobody_sees_it(channels_last, device):
    def grads(follow):
        x, weight, bias, residual, grad = (
            t.detach().to(device) for t in leaves((4, 3, 5, 7), "float32")
        )
        for leaf in (x, residual):
            leaf.requires_grad = True
        if channels_last:
            grad = grad.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        before = grad.cpu().numpy().copy()
        y = F.batch_norm(x, None, None, weight, bias, True, residual=residual, relu=True)
        follow(y).backward(grad)
        np.testing.assert_array_equal(grad.cpu().numpy(), before)
        return [t.grad.cpu().numpy() for t in (x, residual)]

    shared = grads(lambda y: y)
    for own, expected in zip(grads(lambda y: y * 1.0), shared, strict=True):
        np.testing.assert_array_equal(own, expected)
    for twice, expected in zip(grads(lambda y: y + y), shared, strict=True):
        np.testing.assert_allclose(twice, 2 * expected, rtol=1e-5, atol=1e-5)


def test_an_edited_result_is_noticed():
    x, weight, bias, residual, grad = leaves((4, 3, 5, 7), "float32")
    y = F.batch_norm(x, None, None, weight, bias, True, residual=residual, relu=True)
    y.detach().add_(y.detach())
    with pytest.raises(st.AutogradError, match="batch_norm"):
        y.backward(grad.detach())


def test_a_residual_of_another_type_under_autocast():
    x, residual = st.rand(2, 3, 4, 4).to("bfloat16"), st.rand(2, 3, 4, 4)
    with st.autocast("bfloat16"):
        assert F.batch_norm(x, None, None, training=True, residual=residual).dtype is st.float32
        assert F.batch_norm(x, None, None, training=True, residual=x).dtype is st.bfloat16
        y = F.batch_norm(residual, None, None, training=True, residual=x)
        assert y.dtype is st.float32


# --- Modules ------------------------------------------------------------------------------------


class Counted(nn.Module):
    """Stands for a layer that is not batch norm or ReLU, but is used as one."""

    def __init__(self) -> None:
        self.calls = 0

    def forward(self, input):
        self.calls += 1
        return input + 0.0


class OwnNorm(nn.BatchNorm2d):
    def forward(self, input):
        return super().forward(input) * 2.0


class OwnReLU(nn.ReLU):
    def forward(self, input):
        return super().forward(input) + 1.0


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(3), OwnNorm(3), Counted()], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize("relu", [nn.ReLU(), OwnReLU(), Counted()], ids=lambda m: type(m).__name__)
def test_the_helpers_call_what_is_there(norm, relu):
    x, block_input = st.rand(2, 3, 4, 4) - 0.5, st.rand(2, 3, 4, 4) - 0.5
    expected = relu(norm(x))
    np.testing.assert_array_equal(
        norm_relu(norm, relu, x).detach().numpy(), expected.detach().numpy()
    )
    for shortcut, addend in ((None, block_input), (nn.Sigmoid(), F.sigmoid(block_input))):
        expected = relu(norm(x) + addend)
        y = norm_add_relu(norm, relu, x, shortcut, block_input)
        np.testing.assert_array_equal(y.detach().numpy(), expected.detach().numpy())


def test_hooks_see_every_layer_of_a_block():
    block = models.resnet18(num_classes=2).layer1[0]
    seen, handles = [], []
    x = st.rand(1, 64, 6, 6)
    plain = block(x).detach().numpy()
    for name, layer in block.named_children():
        hook = lambda module, args, output, name=name: seen.append((name, output))  # noqa: E731
        handles.append(layer.register_forward_hook(hook))
    hooked = block(x).detach().numpy()
    assert [name for name, _ in seen] == ["conv1", "bn1", "relu", "conv2", "bn2", "relu"]
    assert float(seen[1][1].detach().numpy().min()) < 0  # bn1's own output, before ReLU
    np.testing.assert_array_equal(hooked, plain)
    for handle in handles:
        handle.remove()
    np.testing.assert_array_equal(block(x).detach().numpy(), plain)
    assert len(seen) == 6


def test_a_hook_may_replace_what_goes_between():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    model[0].register_forward_hook(lambda module, args, output: output * 0.0 - 1.0)
    assert (model(st.rand(2, 3, 4, 4)).detach().numpy() == 0).all()


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [nn.BatchNorm2d(3), nn.ReLU()],
        lambda: [nn.BatchNorm2d(3), OwnReLU(), nn.ReLU()],
        lambda: [nn.BatchNorm2d(3), nn.ReLU(), OwnReLU()],
        lambda: [nn.ReLU(), nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.ReLU(), nn.ReLU()],
        lambda: [nn.Flatten(), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 2)],
    ],
)
def test_sequential_calls_the_same_layers(layers):
    model = nn.Sequential(*layers())
    x = st.rand(4, 3, 4, 4) - 0.5
    twin = copy.deepcopy(model)
    expected = x
    for layer in model:
        expected = layer(expected)
    np.testing.assert_array_equal(twin(x).detach().numpy(), expected.detach().numpy())
    for ours, theirs in zip(twin.buffers(), model.buffers(), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_sequential_follows_its_edits():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    x = st.rand(4, 3, 4, 4) - 0.5
    model.add_module("1", nn.Sigmoid())
    np.testing.assert_array_equal(
        model(x).detach().numpy(), F.sigmoid(model[0](x)).detach().numpy()
    )
    delattr(model, "1")
    model.append(nn.ReLU())
    assert (model(x).detach().numpy() >= 0).all()


def test_an_error_names_the_batch_norm():
    model = models.resnet18(num_classes=2)
    model.layer1[0].bn1 = nn.BatchNorm2d(5)
    with pytest.raises(st.ShapeError, match=r"layer1\.0\.bn1 \(BatchNorm2d\): batch_norm: "):
        model(st.rand(1, 3, 32, 32))


@pytest.mark.parametrize("shape", [(16, 64, 56, 56), (13, 16, 125, 121)], ids=str)
def test_large_results(shape):
    """From 12 MB on, results go past the caches; the second has a row after the merged ones."""
    assert 4 * np.prod(shape) >= 12 << 20
    x, weight, bias, _, grad = leaves(shape, "float32")
    y = F.batch_norm(x, None, None, weight, bias, True)
    y.backward(grad.detach())
    x64, g64 = x.detach().numpy().astype(np.float64), grad.detach().numpy().astype(np.float64)
    axes = (0, 2, 3)
    mean, invstd = x64.mean(axes, keepdims=True), (x64.var(axes, keepdims=True) + 1e-5) ** -0.5
    scale = weight.detach().numpy().reshape(1, -1, 1, 1)
    normal = (x64 - mean) * invstd
    expected = normal * scale + bias.detach().numpy().reshape(1, -1, 1, 1)
    slope = (g64 * normal).mean(axes, keepdims=True)
    expected_grad = scale * invstd * (g64 - g64.mean(axes, keepdims=True) - normal * slope)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), expected_grad, rtol=0, atol=1e-5)
