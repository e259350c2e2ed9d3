"""Pictures: resizing against Pillow, the ImageNet transforms, folders of files, worker threads."""

from __future__ import annotations

import math

import numpy as np
import pytest

import striate as st
from striate import data
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
    image = st.from_numpy(planes)
    part = st._core.resize_image(image, (10, 5, 40, 70), (20, 30), (3, 4, 10, 11)).numpy()
    assert np.array_equal(part, whole[:, 3:13, 4:15])
    for region, size, window, message in (
        ((0, 0, 61, 80), (5, 5), (0, 0, 5, 5), "region within 60 x 80, got 61 x 80"),
        ((-1, 0, 5, 5), (5, 5), (0, 0, 5, 5), "region"),
        ((0, 0, 0, 5), (5, 5), (0, 0, 5, 5), "region"),
        ((0, 0, 5, 5), (5, 5), (1, 0, 5, 5), "window within 5 x 5"),
    ):
        with pytest.raises(st.ShapeError, match=message):
            st._core.resize_image(image, region, size, window)
    with pytest.raises(st.DTypeError, match="expected uint8"):
        st._core.resize_image(st.ones(3, 4, 4), (0, 0, 4, 4), (2, 2), (0, 0, 2, 2))


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
