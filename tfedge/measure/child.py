"""Runs what does its work in a process of its own and prints a line for each step."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfedge.errors import TfedgeError

# Of the folder that this tfedge was imported from.
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code, as subprocess gives it.
        lines: what it printed.
        last: its last line on standard error.
    """

    code: int
    lines: list[bytes]
    last: str


def run(command: Sequence[str], progress: Callable[[int], None], stdin: Any = None) -> Ended:
    """Runs a command to its end, each line that it prints being one progress.

    The process does not outlive an interrupt of this one.

    Args:
        stdin: an open file; nothing by default.

    Raises:
        TfedgeError: there is no such program.
    """
    lines = []
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command,
                stdin=stdin or subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
            )
        except OSError as error:
            raise TfedgeError(f"cannot start {command[0]}: {error.strerror}") from error
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line)
                progress(1)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        errors.seek(0)
        message = errors.read().decode(errors="replace").strip()
    return Ended(code, lines, message.splitlines()[-1] if message else "it said nothing")


def environment() -> dict[str, str]:
    """The environment of a process that must find this tfedge, whichever folder it starts in.

    ARM_PATH is what the emulated boards of the test suite take instead of PYTHONPATH.
    """
    paths = [_PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "ARM_PATH": _PACKAGE_ROOT}
