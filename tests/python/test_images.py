"""Pictures: resizing against Pillow, the ImageNet transforms, folders of files, worker threads."""

from __future__ import annotations

import math

import numpy as np
import pytest

import striate as st
from striate import _core, data
from striate.data import transforms
from striate.data.dataset import SampleRandom

Image = pytest.importorskip("PIL.Image", reason="pictures are decoded by Pillow")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)


def by_pillow(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))
    resized = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized).transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(256, 341), (31, 7), (300, 500), (1, 1), (480, 640), (97, 640)])
@pytest.mark.parametrize("source", [(480, 640), (50, 3), (1, 1), (256, 256)])
def test_resize_is_pillows(source, size):
    planes = picture(*source)
    difference = transforms.Resize(size)(planes).astype(int) - by_pillow(planes, size)
    mixed = (size[0] - source[0]) * (size[1] - source[1]) < 0  # newer Pillows swap the passes
    assert abs(difference).max() <= (1 if mixed else 0)


def test_region_and_window():
    planes = picture(60, 80)
    whole = by_pillow(planes[:, 10:50, 5:75], (20, 30))
    image = st.from_numpy(planes[np.newaxis])
    part = _core.resize_images(image, (10, 5, 40, 70), (20, 30), (3, 4, 10, 11)).numpy()
    assert np.array_equal(part[0], whole[:, 3:13, 4:15])
    for region, size, window, message in (
        ((0, 0, 61, 80), (5, 5), (0, 0, 5, 5), "region within 60 x 80, got 61 x 80"),
        ((-1, 0, 5, 5), (5, 5), (0, 0, 5, 5), "region"),
        ((0, 0, 0, 5), (5, 5), (0, 0, 5, 5), "region"),
        ((0, 0, 5, 5), (5, 5), (1, 0, 5, 5), "window within 5 x 5"),
    ):
        with pytest.raises(st.ShapeError, match=message):
            _core.resize_images(image, region, size, window)
    with pytest.raises(st.DTypeError, match="resize_images: expected images of uint8 or float32"):
        _core.resize_images(image.to("int64"), (0, 0, 4, 4), (2, 2), (0, 0, 2, 2))


@pytest.mark.parametrize("source", [(5, 7), (1, 1), (8, 3)])
@pytest.mark.parametrize("size", [(5, 7), (3, 3), (11, 20), (1, 1)])
def test_resize_of_floats_is_interpolation(source, size, rng):
    images = rng.random((2, 3, *source))
    expected = images
    for axis, target in zip((2, 3), size, strict=True):  # float64, an axis at a time
        length = images.shape[axis]
        centres = np.clip((np.arange(target) + 0.5) * length / target - 0.5, 0, length - 1)
        lower = np.floor(centres).astype(int)
        share = (centres - lower).reshape([-1 if d == axis else 1 for d in range(4)])
        upper = np.minimum(lower + 1, length - 1)
        expected = (1 - share) * expected.take(lower, axis) + share * expected.take(upper, axis)
    for given in (
        images,
        images.astype(np.float32),
        images.transpose(0, 1, 2, 3)[:, ::-1][:, ::-1],
    ):
        result = transforms.Resize(size)(given)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, rtol=3e-7)


def layouts(images):
    """Equal arrays (N, C, H, W) that lie in memory in different ways."""
    yield images
    yield images.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    yield np.repeat(np.repeat(images, 2, 3), 3, 1)[:, ::3, :, ::2]
    yield images[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1]
    read_only = images.copy()
    read_only.setflags(write=False)
    yield read_only
    yield images.transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0)


SHAPES = [(4, 3, 9, 7), (2, 1, 5, 5), (3, 5, 1, 8), (1, 2, 6, 1), (0, 3, 4, 4)]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("shape", SHAPES)
def test_moving_pixels(shape, dtype, rng):
    """Crops, mirrors and holes in every type, however the images lie, against NumPy's indexing."""
    images = rng.integers(0, 200, shape).astype(dtype)
    n, _, height, width = shape
    far = max(height, width) + 3
    padded = np.pad(images, ((0, 0), (0, 0), (far, far), (far, far)))
    corners = [(int(t), int(u)) for t, u in rng.integers(-far, far - 2, (n, 2))]
    mirrored = (np.arange(n) % 2 == 0).tolist()
    cropped = [
        image[:, far + top : far + top + 3, far + left : far + left + 2]
        for image, (top, left) in zip(padded, corners, strict=True)
    ]
    erased = padded.copy()
    for image, (top, left) in zip(erased, corners, strict=True):
        image[:, far + top : far + top + 3, far + left : far + left + 2] = 0
    erased = erased[:, :, far : far + height, far : far + width]
    flipped = images.copy()
    flipped[::2] = flipped[::2, :, :, ::-1]
    for given in layouts(images):
        before, x = given.copy(), st.from_numpy(given)
        for result, expected in (
            (_core.crop_images(x, corners, (3, 2)), np.array(cropped).reshape(n, shape[1], 3, 2)),
            (_core.erase_images(x, corners, (3, 2)), erased),
            (_core.flip_images(x, mirrored), flipped),
        ):
            assert result.numpy().dtype == dtype
            assert np.array_equal(result.numpy(), expected)
            assert n < 2 or result.stride()[1] == 1  # channels-last
        assert np.array_equal(given, before)


def test_far_corners():
    x = st.from_numpy(picture(4, 4)[np.newaxis])
    least, most = -(2**63), 2**63 - 1
    for corner in ((least, 0), (most, 0), (0, least), (0, most), (4, 0), (0, -2)):
        assert not _core.crop_images(x, [corner], (2, 2)).numpy().any()
        assert (_core.crop_images(x, [corner], (2, 2), fill=7).numpy() == 7).all()
    assert np.array_equal(_core.erase_images(x, [(least, least)], (2, 2)).numpy(), x.numpy())
    with pytest.raises(st.ShapeError, match="erase_images"):
        _core.erase_images(x, [(most, 0)], (2, 2))


@pytest.mark.parametrize("shape", SHAPES)
def test_normalizing(shape, rng):
    """Every rounding is that of the three operations in float32, one after another."""
    channels = shape[1]
    for mean, std in ((0.3, 0.7), (rng.random(channels).tolist(), rng.uniform(0.1, 2, channels))):
        scale = (1 / np.asarray(std, np.float64)).astype(np.float32).reshape(-1, 1, 1)
        shift = (-np.asarray(mean, np.float64) / std).astype(np.float32).reshape(-1, 1, 1)
        normalize = transforms.Normalize(mean, std)
        for images in (
            rng.integers(0, 256, shape, dtype=np.uint8),
            rng.standard_normal(shape).astype(np.float32),
            rng.standard_normal(shape),
        ):
            unit = np.float32(1 / 255 if images.dtype == np.uint8 else 1)
            scaled = images.astype(np.float32) * unit
            for given in layouts(images):
                assert np.array_equal(transforms.ToTensor()(given), scaled)
                assert np.array_equal(normalize(scaled), scaled * scale + shift)
                both = transforms.Compose([transforms.ToTensor(), normalize])(given)
                assert both.dtype == np.float32
                assert np.array_equal(both, normalize(transforms.ToTensor()(given)))


def test_single_images_and_more_dimensions():
    """(C, H, W) and (A, B, C, H, W) are taken as the batches that they are in."""
    images = np.stack([picture(8, 9, seed) for seed in range(6)])
    for transform in (
        transforms.Pad((1, 2, 3, 4), fill=5),
        transforms.Resize((4, 5)),
        transforms.CenterCrop(4),
        transforms.imagenet_eval(4, resize=6),
    ):
        whole = transform(images)
        assert np.array_equal(transform(images.reshape(2, 3, 3, 8, 9)).reshape(whole.shape), whole)
        for image, expected in zip(images, whole, strict=True):
            assert np.array_equal(transform(image), expected)


def test_a_chain_is_its_steps():
    """Steps that the core does in one pass give what they give one by one."""
    images = np.stack([picture(60, 90, seed) for seed in range(3)])
    chain = transforms.imagenet_eval(32, resize=40)
    expected = images
    for step in chain.transforms:
        expected = step(expected)
    assert np.array_equal(chain(images), expected)
    with pytest.raises(st.ShapeError, match="CenterCrop: expected images of at least 50 x 50"):
        transforms.Compose([transforms.Resize(40), transforms.CenterCrop(50)])(images)
    chain.transforms.insert(0, transforms.Pad(3))
    assert np.array_equal(
        chain(images), transforms.imagenet_eval(32, 40)(transforms.Pad(3)(images))
    )


def test_bad_input():
    x = st.from_numpy(picture(4, 5)[np.newaxis])
    whole = (0, 0, 4, 5)
    for call in (
        lambda given: _core.resize_images(given, whole, (2, 2), (0, 0, 2, 2)),
        lambda given: _core.crop_images(given, [(0, 0)], (2, 2)),
        lambda given: _core.flip_images(given, [True]),
        lambda given: _core.erase_images(given, [(0, 0)], (2, 2)),
        lambda given: _core.normalize_images(given, [0], [1]),
    ):
        assert call(x).shape[:2] == (1, 3)
        with pytest.raises(
            st.ShapeError, match=r"_images: expected images \(N, C, H, W\), got shape"
        ):
            call(x[0])
    for error, message, call in (
        (st.ShapeError, "crop_images: expected 1 corners, one for each image, got 2",
         lambda: _core.crop_images(x, [(0, 0)] * 2, (2, 2))),
        (st.ShapeError, "crop_images: expected a size above 0, got",
         lambda: _core.crop_images(x, [(0, 0)], (0, 2))),
        (st.ShapeError, "erase_images: expected 1 corners, one for each image, got 0",
         lambda: _core.erase_images(x, [], (2, 2))),
        (st.ShapeError, "flip_images: expected 1 choices, one for each image, got 3",
         lambda: _core.flip_images(x, [True] * 3)),
        (st.ShapeError, "expected 1 or 3 values of mean and std .* 3 channels, got 2 and 3",
         lambda: transforms.Normalize((0, 0), (1, 1, 1))(picture(4, 5))),
        (st.ArgumentError, "normalize_images: expected std above 0, got 0",
         lambda: _core.normalize_images(x, [0], [0])),
        (st.DTypeError, "normalize_images: expected images of uint8 or float32, got int64",
         lambda: _core.normalize_images(x.to("int64"), [0], [1])),
        (st.DTypeError, "RandomResizedCrop: expected uint8 images, got float64",
         lambda: transforms.RandomResizedCrop(2)(np.ones((1, 3, 4, 4)), None)),
        (st.DTypeError, "got float16",
         lambda: transforms.Pad(1)(np.ones((3, 4, 4), np.float16))),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            call()


def test_shorter_side_and_centre():
    resize = transforms.Resize(256)
    assert resize(picture(480, 640)).shape == (3, 256, 341)
    assert resize(picture(640, 480)).shape == (3, 341, 256)
    assert resize(picture(100, 100)[np.newaxis]).shape == (1, 3, 256, 256)
    planes = picture(9, 12)
    assert np.array_equal(transforms.CenterCrop(4)(planes), planes[:, 2:6, 4:8])
    with pytest.raises(st.ShapeError, match="at least 10 x 10, got 9 x 12"):
        transforms.CenterCrop(10)(planes)


def test_random_resized_crop():
    images = np.stack([picture(60, 90, seed) for seed in range(200)])
    crop = transforms.RandomResizedCrop(8, scale=(0.2, 0.6))
    draw = SampleRandom(1, 2, np.arange(200))
    result = crop(images, draw)
    assert result.shape == (200, 3, 8, 8)
    again = crop(images[50:60], SampleRandom(1, 2, np.arange(50, 60)))
    assert np.array_equal(again, result[50:60])
    rng = np.random.default_rng(0)
    for _ in range(500):
        tries = [tuple(rng.random(2)) for _ in range(10)]
        height, width = crop._shape(images[0], tries)
        assert 1 <= height <= 60
        assert 1 <= width <= 90
        assert 0.15 < height * width / 5400 < 0.65
        assert 0.7 < width / height < 1.4
    narrow = crop._shape(picture(10, 1000), [(1.0, 0.5)] * 10)
    assert narrow == (10, round(10 * 4 / 3))
    whole = transforms.RandomResizedCrop(8, scale=(1, 1), ratio=(1, 1))
    square, draw = picture(32, 32)[np.newaxis], SampleRandom(1, 2, np.arange(1))
    assert np.array_equal(whole(square, draw)[0], by_pillow(square[0], (8, 8)))


def test_cutout():
    images = np.full((50, 3, 20, 20), 9, np.uint8)
    result = transforms.Cutout(6)(images, SampleRandom(0, 0, np.arange(50)))
    holes = (result == 0).sum((1, 2, 3)) // 3
    assert holes.max() == 36
    assert holes.min() >= 9
    assert (images == 9).all()


def test_presets_normalise():
    planes = picture(300, 400)[np.newaxis]
    x = transforms.imagenet_eval()(planes)
    assert x.shape == (1, 3, 224, 224)
    assert x.dtype == np.float32
    resized = by_pillow(planes[0], (256, 341))[:, 16:240, 58:282]
    mean, std = (
        np.array(v)[:, None, None] for v in (transforms.IMAGENET_MEAN, transforms.IMAGENET_STD)
    )
    assert np.allclose(x[0], (resized / 255 - mean) / std, atol=1e-5)
    draw = SampleRandom(0, 0, np.arange(1))
    assert transforms.imagenet_train(96)(planes, draw).shape == (1, 3, 96, 96)


@pytest.fixture
def folder(tmp_path):
    for label, name in enumerate(("cat", "dog", "eel")):
        (tmp_path / name / "more").mkdir(parents=True)
        for i in range(5):
            pixels = picture(40 + i, 50, 10 * label + i).transpose(1, 2, 0)
            place = tmp_path / name / ("more" if i == 4 else ".") / f"{i}.png"
            Image.fromarray(np.ascontiguousarray(pixels)).save(place)
        (tmp_path / name / "notes.txt").write_text("not a picture")
    return tmp_path


def test_image_folder(folder):
    dataset = data.ImageFolder(folder)
    assert dataset.classes == ["cat", "dog", "eel"]
    assert dataset.class_to_idx == {"cat": 0, "dog": 1, "eel": 2}
    assert len(dataset) == 15
    image, label = dataset[6]
    assert label == 1
    assert np.array_equal(image.numpy(), picture(41, 50, 11))
    with pytest.raises(st.ShapeError, match="gives every image one size"):
        dataset.batch(np.arange(3))


@pytest.mark.parametrize("train", [False, True])
def test_any_number_of_workers_gives_the_same_batches(folder, train):
    make = transforms.imagenet_train if train else transforms.imagenet_eval
    dataset = data.ImageFolder(folder, make(32))

    def epoch(**options):
        loader = data.DataLoader(dataset, 4, shuffle=True, seed=5, **options)
        return [(x.numpy().tobytes(), y.numpy().tolist()) for x, y in loader]

    one = epoch(num_workers=0, prefetch=0)
    assert len(one) == math.ceil(15 / 4)
    assert one == epoch(num_workers=1) == epoch(num_workers=3) == epoch(num_workers=7, prefetch=0)


def test_damaged_files_are_named(folder):
    dataset = data.ImageFolder(folder, transforms.imagenet_eval(32))
    file = folder / "dog" / "2.png"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"GIF89a nonsense", whole[:40] + whole[60:]):
        file.write_bytes(content)
        for workers in (0, 3):
            with pytest.raises(st.FormatError, match=str(file)):
                list(data.DataLoader(dataset, 15, num_workers=workers))
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"2\.png"):
        list(data.DataLoader(dataset, 15))


def test_bad_folders(tmp_path):
    with pytest.raises(data.cifar.DataNotFoundError, match="one for each class"):
        data.ImageFolder(tmp_path / "nowhere")
    (tmp_path / "a").mkdir()
    with pytest.raises(data.cifar.DataNotFoundError, match=f"found none in {tmp_path / 'a'}"):
        data.ImageFolder(tmp_path)
    with pytest.raises(st.ArgumentError, match="num_workers of at least 0, got -1"):
        data.DataLoader(data.TensorDataset(st.ones(3)), num_workers=-1)
