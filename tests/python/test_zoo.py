"""The zoo: published sizes, torch's numbers on the same weights, and published weights."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
from devices import host
from striate import data, models, nn

PARAMETERS = {
    "linear_classifier": 30_730,
    "mlp": 3_072 * 100 + 100 + 1_010,
    "alexnet": 61_100_840,
    "alexnet_two_tower": 60_965_224,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "squeezenet1_1": 1_235_496,
}
CIFAR = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.usefixtures("no_init")
def test_parameter_counts(name):
    assert sum(p.numel() for p in models.get_model(name).parameters()) == PARAMETERS[name]


def test_options():
    with pytest.raises(st.ArgumentError, match="'A' or 'B'"):
        models.resnet20(option="C")
    shortcut = models.resnet20(option="B").layer2[0].shortcut
    assert list(shortcut.state_dict())[0:2] == ["0.weight", "1.weight"]
    strides = [
        (block.conv1.stride, block.conv2.stride)
        for block in (models.resnet50(v1=v1).layer2[0] for v1 in (False, True))
    ]
    assert strides == [((1, 1), (2, 2)), ((2, 2), (1, 1))]
    assert models.mlp(image_size=(8, 6), in_channels=1, hidden=(5, 4))[1].weight.shape == (5, 48)
    model = models.resnet18(num_classes=7, in_channels=1)
    assert model(st.rand(2, 1, 40, 33)).shape == (2, 7)
    assert model.features(st.rand(2, 1, 40, 33)).shape == (2, 512)


def test_initialisation():
    """torchvision's distributions, by their spread."""
    model = models.resnet18()
    weight = model.layer4[1].conv2.weight.detach().numpy()
    assert weight.std() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert np.abs(model.fc.weight.detach().numpy()).max() <= 512**-0.5
    model = models.squeezenet1_1()
    assert model.classifier[1].weight.detach().numpy().std() == pytest.approx(0.01, rel=0.01)
    expand = model.features[12].expand3x3.weight.detach().numpy()
    assert np.abs(expand).max() == pytest.approx((6 / (64 * 9)) ** 0.5, rel=0.01)
    assert not model.features[0].bias.detach().numpy().any()


# --- Weights by path ----------------------------------------------------------------------------


def test_weights_load_all_or_nothing(tmp_path):
    path = tmp_path / "w.safetensors"
    source = models.resnet20()
    st.save(source.state_dict(), path)
    model = models.resnet20(weights=path)
    for got, want in zip(model.parameters(), source.parameters(), strict=True):
        np.testing.assert_array_equal(got.detach().numpy(), want.detach().numpy())
    with pytest.raises(st.ShapeError, match=r"w\.safetensors.*missing key layer1\.3.*"):
        models.resnet32(weights=path)
    with pytest.raises(st.ShapeError, match=r"linear\.weight: expected shape \(7, 64\)"):
        models.resnet20(num_classes=7, weights=path)
    with pytest.raises(st.ArgumentError, match="resnet50"):
        models.resnet20(weights="resnet51")


def test_weights_may_lack_the_counters_of_batch_norm(tmp_path):
    path = tmp_path / "w.npz"
    state = models.resnet20().state_dict()
    np.savez(path, **{k: v.numpy() for k, v in state.items() if "num_batches" not in k})
    model = models.get_model("resnet20", weights=str(path))
    assert model.state_dict()["bn1.num_batches_tracked"].item() == 0


def test_load_checkpoint_is_at_the_top(tmp_path):
    np.savez(tmp_path / "w.npz", w=np.ones(3, np.float32))
    assert st.load_checkpoint(tmp_path / "w.npz")["w"].shape == (3,)
    assert "load_checkpoint" in dir(st)


# --- Parity -------------------------------------------------------------------------------------


def pair(name, classes, **options):
    """The model and torch's, with the weights that torch drew; dropout is off in both. Without
    `classes`, only the features.
    """
    torch = pytest.importorskip("torch", reason="torch is the oracle of these tests")
    from striate.bench.worker.torch_twins import twin

    torch.manual_seed(0)
    theirs = twin(name, classes, **options)
    ours = models.get_model(name, num_classes=classes or 1, **options)
    if classes is None:
        ours, theirs = ours.features, theirs.features
    carry_over(theirs, ours)
    for model, dropout in ((ours, nn.Dropout), (theirs, torch.nn.Dropout)):
        for module in model.modules():
            if isinstance(module, dropout):
                module.p = 0.0
    return ours, theirs, torch


def carry_over(source, target):
    state = source.state_dict()
    assert list(target.state_dict()) == list(state)
    target.load_state_dict({key: st.tensor(value.numpy()) for key, value in state.items()})


def relative(got, want):
    want = want.detach().numpy().astype(np.float64)
    return float(np.linalg.norm(host(got) - want) / np.linalg.norm(want))


def assert_parity(on, ours, theirs, torch, shape, winograd=True):
    """Outputs and the gradient of every parameter, against torch in float64."""
    ours.to(on.device)
    rng = np.random.default_rng(0)
    theirs.double()
    x = rng.standard_normal(shape).astype(np.float32)
    expected = theirs(torch.tensor(x).double())
    v = rng.standard_normal(tuple(expected.shape)).astype(np.float32)
    expected.backward(torch.tensor(v).double())
    gates = {False: 1e-5, True: 1e-4} if winograd and on.device == "cpu" else {False: 1e-5}
    for st.config.winograd, gate in gates.items():
        ours.zero_grad()
        y = ours(on.tensor(x))
        assert y.shape == tuple(expected.shape)
        assert relative(y, expected) <= gate
        y.backward(on.tensor(v))
        errors = {
            key: relative(p.grad, q.grad)
            for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True)
        }
        assert {key: error for key, error in errors.items() if error > 10 * gate} == {}


@pytest.mark.parametrize("name", ["alexnet", "alexnet_two_tower", "squeezenet1_1", "vgg11"])
@pytest.mark.usefixtures("no_init", "without_winograd")
def test_parity_of_plain_networks(name, on):
    assert_parity(on, *pair(name, 10), (2, 3, 64, 64))


@pytest.mark.parametrize("name", ["vgg13", "vgg16", "vgg19"])
@pytest.mark.usefixtures("no_init", "without_winograd")
def test_parity_of_features(name, on):
    """The fully connected layers are those of vgg11."""
    assert_parity(on, *pair(name, None), (2, 3, 32, 32))


@pytest.mark.parametrize("name", [*CIFAR, "resnet18"])
@pytest.mark.usefixtures("no_init", "without_winograd")
def test_parity_with_batch_statistics(name, on):
    """Without Winograd: statistics of few pixels, through many layers, amplify any rounding."""
    side = 16 if name in CIFAR else 64
    assert_parity(on, *pair(name, 10), (2, 3, side, side), winograd=False)


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        *((f"vgg{depth}_bn", {}, (2, 3, 32, 32)) for depth in (11, 13, 16, 19)),
        *((f"resnet{depth}", {}, (1, 3, 32, 32)) for depth in (50, 101, 152)),
        ("resnet50", {"v1": True}, (1, 3, 32, 32)),
        ("resnet20", {"option": "B"}, (2, 3, 16, 16)),
    ],
)
@pytest.mark.usefixtures("no_init", "without_winograd")
def test_parity_with_running_averages(name, options, shape, on):
    """Where statistics of so few pixels would amplify rounding too much, and where the gradient of
    a bias before them would be 0.
    """
    ours, theirs, torch = pair(name, None if "vgg" in name else 10, **options)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
    carry_over(theirs, ours)
    assert_parity(on, ours.eval(), theirs.eval(), torch, shape)


@pytest.mark.parametrize(
    ("name", "options"), [("resnet34", {}), ("resnet50", {}), ("resnet50", {"v1": True})]
)
@pytest.mark.usefixtures("no_init", "without_winograd")
def test_parity_of_deep_networks_with_batch_statistics(name, options, on):
    """In training mode and float64, whose rounding so many layers amplify to nothing visible."""
    ours, theirs, torch = pair(name, 10, **options)
    ours.to("float64").to(on.device)
    theirs.double()
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((2, 3, 64, 64)), rng.standard_normal((2, 10))
    expected = theirs(torch.tensor(x))
    expected.backward(torch.tensor(v))
    y = ours(on.tensor(x))
    y.backward(on.tensor(v))
    assert relative(y, expected) <= 1e-10
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert relative(p.grad, q.grad) <= 1e-8
    for key, value in theirs.state_dict().items():
        if "running" in key:
            assert relative(ours.state_dict()[key], value) <= 1e-10


# --- Published weights --------------------------------------------------------------------------


def cifar10(data_dir):
    image = pytest.importorskip("PIL.Image", reason="the pixels are in a WebP file")
    grid = np.asarray(image.open(data_dir / "cifar10" / "test_first1000.webp").convert("RGB"))
    x = grid.reshape(25, 32, 40, 32, 3).transpose(0, 2, 4, 1, 3).reshape(1000, 3, 32, 32)
    labels = np.fromfile(data_dir / "cifar10" / "test_first1000_labels.bin", np.uint8)
    return normalize(x), labels


def normalize(pixels):
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    return (pixels.astype(np.float32) / 255 - mean[:, None, None]) / std[:, None, None]


def predict(on, model, x):
    """The five best classes of each image, best first."""
    with st.no_grad():
        scores = [host(model(on.tensor(x[i : i + 50]))) for i in range(0, len(x), 50)]
    return np.argsort(-np.concatenate(scores), axis=1)[:, :5]


@pytest.mark.parametrize(
    ("name", "file", "right"),
    [
        ("resnet20", "resnet20-12fca82f.th", 915),
        ("resnet32", "resnet32-d509ac18.th", None),
        ("resnet56", "resnet56-4bfd9763.th", None),
    ],
)
def test_published_cifar_resnets(data_dir, name, file, right, on):
    """The same predictions as torch's with the same weights, for all 1,000 images."""
    torch = pytest.importorskip("torch", reason="torch is the oracle of these tests")
    from striate.bench.worker.torch_twins import twin

    x, labels = cifar10(data_dir)
    path = data_dir / "cifar_resnet" / file
    predicted = predict(on, models.get_model(name, weights=path).to(on.device).eval(), x)[:, 0]
    theirs = twin(name, 10)
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    theirs.load_state_dict({key.removeprefix("module."): t for key, t in state.items()})
    with torch.no_grad():
        expected = theirs.eval()(torch.tensor(x)).argmax(1).numpy()
    assert (predicted != expected).sum() == 0
    if right is not None:
        assert (predicted == labels).sum() == right


@pytest.fixture
def squeezenet(data_dir, on):
    """The model zoo's weights are one file per tensor, numbered in the order of our layers."""
    model = models.squeezenet1_1()
    weights = data_dir / "squeezenet1.1" / "weights"
    state = {}
    for i, name in enumerate(model.state_dict()):
        stem = f"squeezenet0_conv{i // 2}_{name.rpartition('.')[2]}"
        state[name] = st.tensor(np.load(weights / f"{stem}.npy"))
    model.load_state_dict(state)
    return model.to(on.device).eval()


@pytest.mark.parametrize("case", ["0", "1", "2"])
def test_published_squeezenet(squeezenet, data_dir, case, on):
    folder = data_dir / "squeezenet1.1" / "test_data_set" / case
    with st.no_grad():
        got = host(squeezenet(on.tensor(np.load(folder / "input_0.npy"))))
    expected = np.load(folder / "output_0.npy").reshape(1, 1000)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


@pytest.fixture
def photographs(data_dir):
    """Of ImageNet's classes: the files, and the number of each one's class."""
    pytest.importorskip("PIL", reason="the photographs are JPEG files")
    lines = (data_dir / "synset_words.txt").read_text().splitlines()
    synsets = [line.split()[0] for line in lines]
    files = sorted((data_dir / "photos" / "imagenet_samples").iterdir())
    return files, np.array([[synsets.index(file.name.partition("_")[0])] for file in files])


def test_published_squeezenet_on_photographs(squeezenet, photographs, on):
    """26 of 36 right, 31 among the best five: short side to 256, the middle 224 x 224."""
    image = pytest.importorskip("PIL.Image", reason="the photographs are JPEG files")
    files, labels = photographs
    pixels = []
    for file in files:
        photo = image.open(file).convert("RGB")
        scale = 256 / min(photo.size)
        size = [round(side * scale) for side in photo.size]
        left, top = ((side - 224) // 2 for side in size)
        photo = photo.resize(size, image.Resampling.BILINEAR)
        photo = photo.crop((left, top, left + 224, top + 224))
        pixels.append(np.asarray(photo).transpose(2, 0, 1))
    hits = predict(on, squeezenet, normalize(np.stack(pixels))) == labels
    assert (hits[:, 0].sum(), hits.sum()) == (26, 31)


def test_published_squeezenet_through_the_public_transform(squeezenet, photographs, on):
    """25 and 32: torchvision's rounding makes the longer side of nine of the photographs a pixel
    shorter, and one of them changes places.
    """
    files, labels = photographs
    prepare = data.transforms.imagenet_eval()
    photos = np.concatenate([prepare(data.read_image(file)[np.newaxis]) for file in files])
    hits = predict(on, squeezenet, photos) == labels
    assert (hits[:, 0].sum(), hits.sum()) == (25, 32)
