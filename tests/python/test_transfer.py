"""Features, heads and frozen parts: of every model, from Python and in three lines."""

from __future__ import annotations

import pytest

import striate as st
from devices import On, host
from striate import models, nn, train
from striate.train import transfer
from striate.train.kinds import build

# The smallest side that keeps this quick, where it is not the model's own.
SMALL = {"alexnet": 63, "alexnet_two_tower": 63, "lenet1": 28}


def small(on: On, name: str) -> tuple[nn.Module, st.Tensor]:
    """A model of 7 classes in evaluation mode, and two images for it."""
    side = SMALL.get(name, 32)
    shape = (train.MODELS[name].channels or 1, side, side)
    return build(name, 7, shape).to(on.device).eval(), on.randn(2, *shape)


def test_every_model_can_be_trained_here():
    assert sorted(train.MODELS) == models.list_models()


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in models.list_models()
        # Deeper ones of the same classes, and VGG with batch norm, take long to build.
        if not (name.startswith("vgg") and name != "vgg11")
        and name not in ("resnet34", "resnet50", "resnet101", "resnet152", "resnet110")
    ],
)
def test_features_and_head_are_the_model(name, on):
    model, x = small(on, name)
    with st.no_grad():
        features = model.forward_features(x)
        head = dict(model.named_modules())[model.head_name()]
        assert features.shape[0] == 2
        assert features.shape[1] == head.weight.shape[1]
        assert features.ndim == head.weight.ndim
        scores = host(model(x))
        assert host(model.forward_head(features)).tobytes() == scores.tobytes()
        fused = model.fuse().forward_features(x)
        scale = abs(host(features)).max()
        assert abs(host(fused - features)).max() <= 1e-3 * scale


@pytest.mark.parametrize("name", ["lenet5", "mlp", "resnet18", "resnet20"])
def test_features_is_a_method_where_torchvision_has_no_layers_of_that_name(name, on):
    model, x = small(on, name)
    with st.no_grad():
        assert host(model.features(x)).tobytes() == host(model.forward_features(x)).tobytes()


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1"])
def test_features_stays_torchvisions_layers(name, on):
    model, x = small(on, name)
    assert isinstance(model.features, nn.Sequential)
    assert "features.0.weight" in model.state_dict()
    with st.no_grad():
        assert model.features(x).ndim == 4


@pytest.mark.parametrize("name", ["lenet1", "mlp", "alexnet", "resnet18", "squeezenet1_1"])
def test_replace_head(name, on):
    model, x = small(on, name)
    before = model.state_dict()
    prefix = f"{model.head_name()}."
    model.requires_grad_(False)
    assert model.replace_head(3) is model
    assert model(x).shape == (2, 3)
    after = model.state_dict()
    assert list(after) == list(before)
    for key, tensor in before.items():
        if key.startswith(prefix):
            assert after[key].shape[0] == 3
        else:
            assert host(after[key]).tobytes() == host(tensor).tobytes()
    trainable = [key for key, parameter in model.named_parameters() if parameter.requires_grad]
    assert trainable == [key for key in after if key.startswith(prefix)]
    assert not any(module.training for module in model.modules())


def test_replace_head_keeps_the_type():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False)).double()
    model.replace_head(5)
    assert model[1].weight.dtype == st.float64
    assert model[1].bias is None


def test_nested_and_misshapen_networks():
    body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten())
    network = nn.Sequential(body, nn.Sequential(nn.Dropout(), nn.Linear(8, 3)), nn.LogSoftmax(1))
    network.eval()
    x = st.randn(2, 1, 4, 4)
    with st.no_grad():
        features = network.forward_features(x)
        assert features.shape == (2, 8)
        assert network.forward_head(features).tolist() == network(x).tolist()
    with pytest.raises(st.ArgumentError, match="head_name: expected a Linear or Conv2d"):
        nn.Sequential(nn.ReLU()).head_name()
    with pytest.raises(st.ArgumentError, match="num_classes of at least 1, got 0"):
        network.replace_head(0)
    with pytest.raises(st.ArgumentError, match="end in a Linear or Conv2d, got FusedConv2d"):
        nn.Sequential(nn.Conv2d(1, 2, 3)).fuse().replace_head(3)
    with pytest.raises(NotImplementedError, match=r"ReLU: forward_features\(\) is not defined"):
        nn.ReLU().forward_features(x)


def test_weights_of_our_own_checkpoints(tmp_path):
    """A run can start from another's file; an average of weights comes before the weights."""
    source = models.resnet20(num_classes=4)
    averaged = {f"ema.{key}": x for key, x in models.resnet20(num_classes=4).state_dict().items()}
    tensors = {f"model.{key}": x for key, x in source.state_dict().items()}
    st.save(tensors | {"optimizer.0.momentum_buffer": st.ones(1)}, tmp_path / "a.safetensors")
    st.save(tensors | averaged, tmp_path / "b.safetensors")
    for name, expected in (
        ("a", tensors["model.conv1.weight"]),
        ("b", averaged["ema.conv1.weight"]),
    ):
        weights = transfer.read_weights(tmp_path / f"{name}.safetensors")
        assert weights.keys() == source.state_dict().keys()
        assert weights["conv1.weight"].tolist() == expected.tolist()


def test_parameter_groups():
    model = models.resnet20()
    plain = train.parameter_groups(model, lr=0.1, weight_decay=0.01)
    assert len(plain) == 1
    assert plain[0]["params"] == list(model.parameters())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = train.parameter_groups(
        model, lr=0.1, lr_backbone=0.001, weight_decay=0.01, bias_decay=False
    )
    found = {}
    for group in groups:
        for parameter in group["params"]:
            found[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    assert found.keys() == set(names.values())
    assert found["conv1.weight"] == (0.001, 0.01)
    assert found["layer2.0.bn1.weight"] == found["bn1.bias"] == (0.001, 0.0)
    assert found["linear.weight"] == (0.1, 0.01)
    assert found["linear.bias"] == (0.1, 0.0)
    transfer.freeze(model, "until=layer3")
    groups = train.parameter_groups(model, lr=0.1, lr_backbone=0.001)
    assert [len(group["params"]) for group in groups] == [2]
