"""Name what is in image files, with the classes that the model was trained on."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt

import striate as st
import striate.nn.functional as F
from striate.cli import options
from striate.cli.console import Console
from striate.train import DATASETS, image_transform, read_checkpoint

Pixels = npt.NDArray[np.float32]

# How the makers of each data set placed a drawing: it is scaled to fit a box, which is centred in
# a canvas. (digits: the whole 8x8 field; mnist: 20x20 in 28x28, by centre of mass; fashion: the
# whole 28x28 field.)
_PLACEMENT = {"digits": (8, 8), "mnist": (20, 28), "fashion": (28, 28)}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("predict", help="classify image files", description=__doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="file of any size and format")
    options.add_checkpoint(parser)
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes to show")
    parser.add_argument(
        "--invert",
        choices=("auto", "yes", "no"),
        default="auto",
        help="dark on light is made light on dark; auto looks at the border (default: %(default)s)",
    )
    options.add_run(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    options.set_threads(args)
    pictures = [_read(path) for path in args.images]
    checkpoint = read_checkpoint(args.checkpoint)
    settings, model = checkpoint.settings, checkpoint.model()
    transform = image_transform(settings.model, settings.data, size=settings.size)
    images = [_pixels(picture, settings.data, args.invert)[np.newaxis] for picture in pictures]
    batch = st.tensor(np.concatenate([transform(image) for image in images]))
    with st.no_grad():
        scores = F.softmax(model.to(args.device)(batch.to(args.device)), 1).to("cpu").numpy()

    console = Console(machine=args.json)
    results = []
    classes = checkpoint.classes
    for path, probabilities in zip(args.images, scores, strict=True):
        order = np.argsort(-probabilities, kind="stable")[: max(args.top, 1)]
        top = [(classes[i], float(probabilities[i])) for i in order]
        console.line(f"{path}: " + "  ".join(f"{name} {p:.1%}" for name, p in top))
        results.append(
            {
                "image": path,
                "class": top[0][0],
                "probability": top[0][1],
                "top": [{"class": name, "probability": p} for name, p in top],
            }
        )
    console.result({"checkpoint": args.checkpoint, "predictions": results})
    return 0


def _read(path: str) -> Any:
    """An RGB image of Pillow's; transparency counts as white paper."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise st.Error("predict: needs Pillow: pip install 'striate[cli]'") from None
    try:
        with Image.open(path) as image:
            rgba = ImageOps.exif_transpose(image).convert("RGBA")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.filename:
            raise  # no such file, or no permission
        raise st.FormatError(f"predict: {path}: {error}") from error
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _pixels(picture: Any, dataset: str, invert: str) -> npt.NDArray[Any]:
    """(C, H, W), like the images of a data set before its transform."""
    if dataset in _PLACEMENT:
        box, canvas = _PLACEMENT[dataset]
        return _place(_light_on_dark(picture, invert), box, canvas)
    if dataset == "folder":
        pixels: npt.NDArray[np.uint8] = np.asarray(picture, np.uint8).transpose(2, 0, 1)
        return pixels
    return _photograph(picture, DATASETS[dataset].side)


def _photograph(picture: Any, side: int) -> npt.NDArray[np.uint8]:
    """(3, side, side): the middle square, reduced."""
    from PIL import Image, ImageOps

    square = ImageOps.fit(picture, (side, side), Image.Resampling.BOX)
    pixels: npt.NDArray[np.uint8] = np.asarray(square, np.uint8).transpose(2, 0, 1)
    return pixels


def _light_on_dark(picture: Any, invert: str) -> Pixels:
    """Grey levels in [0, 1]."""
    grey: Pixels = np.asarray(picture.convert("L"), np.float32) / np.float32(255)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if invert == "yes" or (invert == "auto" and np.median(border) > 0.5):
        grey = 1 - grey
    return grey


def _place(grey: Pixels, box: int, canvas: int) -> Pixels:
    """(1, canvas, canvas): crops to the ink, scales it to fit `box` and centres it."""
    from PIL import Image

    grey = np.clip((grey - grey.min()) / max(float(np.ptp(grey)), 1e-6), 0, 1)
    ink = grey > 0.2  # paper is seldom even
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return np.zeros((1, canvas, canvas), np.float32)
    grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = box / max(grey.shape)
    height, width = (max(round(side * scale), 1) for side in grey.shape)
    resized = Image.fromarray(grey).resize((width, height), Image.Resampling.BOX)
    drawing = np.asarray(resized, np.float32)
    top, left = (_offset(drawing.sum(1 - axis), canvas) for axis in (0, 1))
    result = np.zeros((1, canvas, canvas), np.float32)
    result[0, top : top + height, left : left + width] = drawing
    return result


def _offset(mass: Pixels, canvas: int) -> int:
    """Where a profile starts if its centre of mass is to be the middle of the canvas."""
    centre = float((np.arange(len(mass)) + 0.5) @ mass / mass.sum())
    return min(max(round(canvas / 2 - centre), 0), canvas - len(mass))
