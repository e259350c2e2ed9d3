"""conv2d_fused against its parts, and fused models against the models they came from."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from devices import host
from striate import models, nn

CASES = [  # n, channels, filters, size, kernel, options: direct, few filters, groups, Winograd
    (2, 5, 7, 9, 3, {"stride": 2, "padding": 1}),
    (2, 1, 6, 12, 5, {}),
    (2, 2, 3, 41, 3, {"stride": (1, 2)}),
    (1, 6, 9, 8, 3, {"groups": 3, "padding": 1}),
    (1, 64, 64, 28, 3, {"padding": 1}),
    (3, 16, 40, 6, 1, {}),
    (2, 16, 12, 5, 5, {}),  # the kernel covers the input
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("with_residual", [False, True])
def test_equals_its_parts(case, relu, with_residual, on):
    n, c, o, size, kernel, options = case
    x = on.randn(n, c, size, size)
    w, b = on.randn(o, c // options.get("groups", 1), kernel, kernel), on.randn(o)
    plain = F.conv2d(x, w, b, **options)
    residual = on.randn(*plain.shape) if with_residual else None
    expected = plain if residual is None else plain + residual
    expected = F.relu(expected) if relu else expected
    fused = F.conv2d_fused(x, w, b, **options, residual=residual, relu=relu)
    assert np.array_equal(host(fused), host(expected))


def test_relu_keeps_nan(on):
    x = on.full((1, 1, 4, 4), float("nan"))
    assert np.isnan(host(F.conv2d_fused(x, on.ones(1, 1, 3, 3), relu=True))).all()


def test_bad_input(on):
    x, w = on.ones(1, 2, 5, 5), on.ones(3, 2, 3, 3)
    with pytest.raises(st.ShapeError, match=r"conv2d_fused: .*residual.*\(1, 3, 3, 3\)"):
        F.conv2d_fused(x, w, residual=on.ones(1, 3, 3, 4))
    with pytest.raises(st.DTypeError, match="residual"):
        F.conv2d_fused(x, w, residual=on.ones(1, 3, 3, 3, dtype="float64"))
    w.requires_grad = True
    with pytest.raises(st.ArgumentError, match="for inference"):
        F.conv2d_fused(x, w)
    with st.no_grad():
        F.conv2d_fused(x, w)


def lively(model: nn.Module) -> nn.Module:
    """Statistics and affine parameters as after some training."""
    for name, tensor in (*model.named_buffers(), *model.named_parameters()):
        values = tensor.detach()
        if name.endswith("running_var"):
            values.copy_(st.rand(*values.shape) + 0.5)
        elif values.dtype.is_floating_point and "bn" in name:
            values.copy_(values + st.randn(*values.shape) * 0.1)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lenet5", (3, 1, 32, 32)),
        ("alexnet", (1, 3, 224, 224)),
        ("vgg11_bn", (1, 3, 64, 64)),
        ("resnet18", (2, 3, 64, 64)),
        ("resnet50", (1, 3, 64, 64)),
        ("resnet20", (3, 3, 32, 32)),
        ("squeezenet1_1", (1, 3, 64, 64)),
    ],
)
def test_fused_model_equals_its_original(name, shape, on):
    st.manual_seed(3)
    model = lively(getattr(models, name)()).to(on.device)
    before = {key: host(tensor).tobytes() for key, tensor in model.state_dict().items()}
    fused = model.fuse()
    x = on.randn(*shape)
    expected, result = (host(run(x)) for run in (model, fused))
    assert np.linalg.norm(result - expected) < 1e-5 * np.linalg.norm(expected)
    kinds = {type(layer) for layer in fused.modules()}
    assert nn.BatchNorm2d not in kinds
    assert not any(
        p.requires_grad
        for layer in fused.modules()
        for p in layer.parameters()
        if type(layer).__name__ == "FusedConv2d"
    )
    assert {key: host(tensor).tobytes() for key, tensor in model.state_dict().items()} == before
    assert any(p.requires_grad for p in model.parameters())


def test_batch_norm_without_running_statistics_stays(on):
    conv, norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, track_running_stats=False)
    model = nn.Sequential(conv, norm, nn.ReLU()).to(on.device).eval()
    x = on.randn(2, 2, 8, 8)
    assert np.array_equal(host(model(x)), host(model.fuse()(x)))


def test_batch_norm_without_weight_and_bias(on):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, affine=False), nn.ReLU())
    model.to(on.device)
    with st.no_grad():
        model[1].running_mean.copy_(on.randn(3))
        model[1].running_var.copy_(on.rand(3) + 0.5)
    model.eval()
    x = on.randn(2, 2, 8, 8)
    np.testing.assert_allclose(host(model.fuse()(x)), host(model(x)), rtol=1e-5, atol=1e-6)
