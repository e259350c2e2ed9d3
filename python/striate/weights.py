"""Published weights by name: where they are, what they hash to, and their download.

A file is looked for in the cache first, so that one placed there by hand serves as well. The
names, files and hash prefixes are torchvision's (``torchvision.models``, the V1 weights) and
akamaster/pytorch_resnet_cifar10's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from striate._core import ArgumentError, FormatError
from striate.data.download import DownloadError

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30
_TORCHVISION = "https://download.pytorch.org/models/"
_CIFAR = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/"


@dataclass(frozen=True, slots=True)
class Weights:
    url: str
    sha256: str  # in hexadecimal; its beginning where no more is published

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


WEIGHTS: dict[str, Weights] = {
    "alexnet": Weights(
        _TORCHVISION + "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    "vgg11": Weights(_TORCHVISION + "vgg11-8a719046.pth", "8a719046"),
    "vgg11_bn": Weights(_TORCHVISION + "vgg11_bn-6002323d.pth", "6002323d"),
    "vgg13": Weights(_TORCHVISION + "vgg13-19584684.pth", "19584684"),
    "vgg13_bn": Weights(_TORCHVISION + "vgg13_bn-abd245e5.pth", "abd245e5"),
    "vgg16": Weights(
        _TORCHVISION + "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
    "vgg16_bn": Weights(_TORCHVISION + "vgg16_bn-6c64b313.pth", "6c64b313"),
    "vgg19": Weights(_TORCHVISION + "vgg19-dcbb9e9d.pth", "dcbb9e9d"),
    "vgg19_bn": Weights(_TORCHVISION + "vgg19_bn-c79401a0.pth", "c79401a0"),
    "resnet18": Weights(
        _TORCHVISION + "resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    ),
    "resnet34": Weights(
        _TORCHVISION + "resnet34-b627a593.pth",
        "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
    ),
    "resnet50": Weights(
        _TORCHVISION + "resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    ),
    "resnet101": Weights(
        _TORCHVISION + "resnet101-63fe2227.pth",
        "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
    ),
    "resnet152": Weights(
        _TORCHVISION + "resnet152-394f9c45.pth",
        "394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58",
    ),
    "squeezenet1_1": Weights(
        _TORCHVISION + "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    ),
    "resnet20": Weights(
        _CIFAR + "resnet20-12fca82f.th",
        "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
    ),
    "resnet32": Weights(
        _CIFAR + "resnet32-d509ac18.th",
        "d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850",
    ),
    "resnet44": Weights(_CIFAR + "resnet44-014dd654.th", "014dd654"),
    "resnet56": Weights(
        _CIFAR + "resnet56-4bfd9763.th",
        "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367",
    ),
    "resnet110": Weights(_CIFAR + "resnet110-1d1ed7c2.th", "1d1ed7c2"),
}


def cache_dir() -> Path:
    """``$STRIATE_HOME/weights``, or ``striate/weights`` in the user's cache."""
    home = os.environ.get("STRIATE_HOME")
    if home:
        return Path(home) / "weights"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "striate" / "weights"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "striate" / "weights"


def resolve(weights: str | os.PathLike[str]) -> Path:
    """The file of ``weights``: a registered name, fetched if need be, or a path."""
    if isinstance(weights, str) and weights in WEIGHTS:
        return fetch(weights)
    path = Path(weights)
    if not path.is_file():
        raise ArgumentError(
            f"weights: expected an existing file or one of {', '.join(WEIGHTS)}, got {path}"
        )
    return path


def fetch(name: str) -> Path:
    """The file of registered weights: from the cache, or downloaded into it and verified.

    An interrupted download is taken up where it ended. Raises DownloadError without a network,
    FormatError if the file's hash is wrong.
    """
    weights = WEIGHTS.get(name)
    if weights is None:
        raise ArgumentError(f"weights: expected one of {', '.join(WEIGHTS)}, got {name!r}")
    target = cache_dir() / weights.file
    if target.is_file():
        return target
    from http.client import HTTPException  # slow to import, and seldom needed

    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(target.name + ".part").open("ab") as partial:
        fcntl.flock(partial, fcntl.LOCK_EX)  # one process downloads, the others wait
        if target.is_file():
            return target
        try:
            _download(weights.url, partial)
        except (OSError, HTTPException) as error:  # URLError, timeouts, resets are OSErrors
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            kept = partial.tell()
            hint = f" The next try goes on from byte {kept}." if kept else ""
            raise DownloadError(
                f"weights: could not get {weights.url}: {getattr(error, 'reason', error)}.{hint} "
                f"Without a network, place the file by hand as {target}"
            ) from error
        _verify(partial, weights)
        os.replace(partial.name, target)
    return target


def _verify(partial: BinaryIO, weights: Weights) -> None:
    """Empties the file if its hash is wrong, or the next download would go on from it."""
    digest = hashlib.sha256()
    with open(partial.name, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if not digest.hexdigest().startswith(weights.sha256):
        partial.truncate(0)
        raise FormatError(
            f"weights: expected {weights.url} to have SHA-256 {weights.sha256}, "
            f"got {digest.hexdigest()}"
        )


def _download(url: str, partial: BinaryIO) -> None:
    """Appends what `partial` lacks."""
    from urllib.error import HTTPError  # slow to import, and seldom needed
    from urllib.request import Request, urlopen

    done = partial.seek(0, os.SEEK_END)
    request = Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urlopen(request, timeout=_TIMEOUT_SECONDS)
    except HTTPError as error:
        if done and error.code == 416:  # nothing is left: the hash will tell
            return
        raise
    with response:
        if done and response.status != 206:  # the server sends all of it
            partial.truncate(0)
            done = partial.seek(0)
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with _progress(url.rpartition("/")[2], done, total) as advance:
            while chunk := response.read(_CHUNK):
                partial.write(chunk)
                advance(len(chunk))
    partial.flush()
    if total is not None and partial.tell() != total:
        raise ConnectionError(f"the connection ended at byte {partial.tell()} of {total}")


@contextlib.contextmanager
def _progress(title: str, done: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where there is a terminal and rich, else nothing."""
    if not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda count: None
        return
    from rich import progress as bars
    from rich.console import Console

    bar = bars.Progress(
        bars.TextColumn(title),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    task = bar.add_task("", total=total, completed=done)
    with bar:
        yield lambda count: bar.advance(task, count)
