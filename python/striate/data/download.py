"""Downloads with a checksum, all or nothing."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from striate._core import Error

_MAX_BYTES = 1 << 30
_TIMEOUT_SECONDS = 30


class DownloadError(Error, ConnectionError):
    """No mirror had the file, or there is no network."""


def download(urls: Sequence[str], target: Path, sha256: str) -> None:
    """Fetches ``target`` from the first of ``urls`` that has it with the right checksum."""
    from urllib.request import urlopen  # slow to import, and seldom needed

    target.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        try:
            with urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
                content = response.read(_MAX_BYTES)
        except OSError as error:  # URLError, timeouts and resets are all OSErrors
            failures.append(f"{url}: {getattr(error, 'reason', error)}")
            continue
        found = hashlib.sha256(content).hexdigest()
        if found == sha256:
            _write(target, content)
            return
        failures.append(f"{url}: expected SHA-256 {sha256}, got {found}")
    raise DownloadError(
        f"download: could not get {target.name}: " + "; ".join(failures) + ". Without a network, "
        f"copy the file to {target.parent} by hand"
    )


def _write(target: Path, content: bytes) -> None:
    """Writes next to the target and renames, so that no half a file is ever seen under its name."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
