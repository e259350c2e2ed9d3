"""The parent's side of the processes in which networks are timed; see worker/main.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from striate._core import Error
from striate.bench.rows import Row

_MAIN = Path(__file__).parent / "worker" / "main.py"
_SETTLE_SECONDS = 0.1  # lets the spinning threads of the last worker go to sleep


class Worker:
    """One variant of one framework with its network: built, probed and warm, or with an `error`."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.framework: str = job["framework"]
        self.variant: str = job["variant"]
        self.milliseconds: list[float] = []
        self.peak_mb = 0.0
        self._process = subprocess.Popen(
            [sys.executable, str(_MAIN), json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(job["threads"])},
        )
        ready = self._answer()
        self.error: str = ready.get("error", "")
        self.version: str = ready.get("version", "")
        self.probe: list[float] = ready.get("probe", [])

    @property
    def name(self) -> str:
        return f"{self.framework} {self.variant}".strip()

    def measure(self, seconds: float) -> float:
        """One round of about `seconds`; the process then waits, idle, for the next."""
        assert self._process.stdin is not None
        time.sleep(_SETTLE_SECONDS)
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise Error(f"bench: {self.name}: {answer['error']}")
        self.milliseconds.append(answer["milliseconds"])
        self.peak_mb = answer["peak_mb"]
        return self.milliseconds[-1]

    def _answer(self) -> Row:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return {"error": f"process ended with code {self._process.wait()}"}
        answer: Row = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
