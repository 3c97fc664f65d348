"""Runs what does its work in a process of its own and prints a line for each step."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tfedge.errors import TfedgeError
from tfedge.progress import Progress

# Of the folder that this tfedge was imported from.
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


Started = tuple[subprocess.Popen[bytes], IO[bytes]]  # and where its standard error goes
# The number of a process and a line that it printed, None behind the last.
Printed = queue.SimpleQueue[tuple[int, bytes | None]]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int  # as subprocess gives it
    lines: list[bytes]  # that it printed
    last: str  # line on standard error


def run(
    command: Sequence[str],
    progress: Progress,
    stdin: Any = None,
    is_step: Callable[[bytes], bool] = bool,
) -> Ended:
    """Runs a command to its end, as `run_together` does; `stdin` is an open file, or nothing."""
    (ended,) = run_together(command, progress, [stdin], is_step)
    return ended


def run_together(
    command: Sequence[str],
    progress: Progress,
    stdins: Sequence[Any],
    is_step: Callable[[bytes], bool] = bool,
) -> list[Ended]:
    """Runs a command to its end, each line that it prints being one progress where it `is_step`.

    It runs in as many processes at the same time as there are files to read from, `stdins`, in whose
    order it is told how each ended. None outlives an interrupt of this one. Raises TfedgeError where
    there is no such program.
    """
    # A thread for each process only reads; `progress` is called, and may raise, in this one.
    printed: Printed = queue.SimpleQueue()
    lines: list[list[bytes]] = [[] for _ in stdins]
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(started(command, stdin)) for stdin in stdins]
        for number, (process, _) in enumerate(processes):
            threading.Thread(target=_read, args=(process, number, printed), daemon=True).start()
        reading = len(processes)
        while reading:
            number, line = printed.get()
            if line is None:
                reading -= 1
            else:
                lines[number].append(line)
                progress(int(is_step(line)))
        return [
            Ended(process.wait(), found, last_line(errors))
            for (process, errors), found in zip(processes, lines, strict=True)
        ]


@contextlib.contextmanager
def started(command: Sequence[str], stdin: Any) -> Iterator[Started]:
    """A process and where its standard error goes; it is ended at the end. Raises TfedgeError where
    there is no such program."""
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
        try:
            yield process, errors
        finally:
            process.kill()
            process.wait()


def _read(process: subprocess.Popen[bytes], number: int, printed: Printed) -> None:
    """Nobody waits for this: children of a killed process may hold the pipe open for a long time."""
    assert process.stdout is not None
    with process.stdout as stdout:
        for line in stdout:
            printed.put((number, line))
    printed.put((number, None))


def last_line(errors: IO[bytes]) -> str:
    """The last line that a process wrote on standard error."""
    errors.seek(0)
    message = errors.read().decode(errors="replace").strip()
    return message.splitlines()[-1] if message else "it said nothing"


def environment() -> dict[str, str]:
    """The environment of a process that must find this tfedge, whichever folder it starts in.

    ARM_PATH is what the emulated boards of the test suite take instead of PYTHONPATH.
    """
    paths = [_PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "ARM_PATH": _PACKAGE_ROOT}
