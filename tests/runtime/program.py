"""Runs `tfedge-infer` as a user does, in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tfedge.runtime.runtimes import RUNTIMES

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "tfedge.runtime.infer")
TIMEOUT_S = 60

# The first answers where nobody says; tflite-runtime has no wheel for Python 3.12 and later.
INSTALLED = tuple(name for name, runtime in RUNTIMES.items() if runtime.installed())
# Decorate a test that runs once in each runtime, and one that needs them all.
each_runtime = pytest.mark.parametrize(
    "runtime",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(not runtime.installed(), reason=f"{name} is not installed"),
        )
        for name, runtime in RUNTIMES.items()
    ],
)
needs_both = pytest.mark.skipif(
    len(INSTALLED) < len(RUNTIMES), reason="there is one runtime for this Python"
)


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run left behind. `lines` are those of standard output, `errors` of standard error."""

    code: int
    lines: list[str]
    errors: list[str]

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.lines]


def environment() -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def infer(*arguments: str | bytes | Path, stdin: bytes = b"") -> Result:
    """Runs the program; arguments may be bytes, for what is not UTF-8."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        env=environment(),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Result(
        done.returncode, _lines(done.stdout.decode()), _lines(done.stderr.decode(errors="replace"))
    )


def _lines(text: str) -> list[str]:
    # str.splitlines would also split at U+2028 and its like, which answers may contain.
    return text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """Starts the program with pipes for its three streams."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
