"""Runs what does its work in a process of its own and prints a line for each step."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfedge.boards import ssh
from tfedge.boards.errors import silent, unasked
from tfedge.boards.hearing import LastWords
from tfedge.errors import TfedgeError
from tfedge.progress import Progress

# Of the folder that this tfedge was imported from.
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


_CHUNK = 1 << 16
_MOST_BYTES = 1 << 30  # of what a board says; the tensors of a large model have some 100 MB
Started = tuple[subprocess.Popen[bytes], LastWords]  # and what it says on standard error
# The number of a process and something that it printed, None behind the last.
Printed = queue.SimpleQueue[tuple[int, bytes | None]]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int  # as subprocess gives it
    lines: list[bytes]  # that it printed
    last: str  # line on standard error


@dataclasses.dataclass(frozen=True)
class Afar:
    """A board on which a command runs, of which no more is heard than it has been asked for.

    Attributes:
        name: as the user calls it.
        lines: that it may print at most.
    """

    name: str
    lines: int


def run(
    command: Sequence[str],
    progress: Progress,
    stdin: Any = None,
    is_step: Callable[[bytes], bool] = bool,
    afar: Afar | None = None,
) -> Ended:
    """Runs a command to its end, as `run_together` does; `stdin` is an open file, or nothing."""
    (ended,) = run_together(command, progress, [stdin], is_step, afar)
    return ended


def run_together(
    command: Sequence[str],
    progress: Progress,
    stdins: Sequence[Any],
    is_step: Callable[[bytes], bool] = bool,
    afar: Afar | None = None,
) -> list[Ended]:
    """Runs a command to its end, each line that it prints being one progress where it `is_step`.

    It runs in as many processes at the same time as there are files to read from, `stdins`, in whose
    order it is told how each ended. None outlives an interrupt of this one.

    Raises:
        TfedgeError: there is no such program.
        BoardSilentError: nothing comes from a board for `LINE_S`.
        BoardError: it prints more than it was asked for.
    """
    # A thread for each process only reads; `progress` is called, and may raise, in this one.
    printed: Printed = queue.SimpleQueue()
    heard = [_Heard(afar) for _ in stdins]
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(started(command, stdin)) for stdin in stdins]
        for number, (process, _) in enumerate(processes):
            threading.Thread(target=_read, args=(process, number, printed), daemon=True).start()
        reading = len(processes)
        while reading:
            number, content = _next(printed, afar)
            if content is None:
                reading -= 1
            for line in heard[number].lines_of(content):
                progress(int(is_step(line)))
        return [
            Ended(_code(process, afar), found.lines, last.line or "it said nothing")
            for (process, last), found in zip(processes, heard, strict=True)
        ]


class _Heard:
    """What one process has printed so far."""

    def __init__(self, afar: Afar | None) -> None:
        self.lines: list[bytes] = []
        self._afar, self._rest, self._bytes = afar, bytearray(), 0

    def lines_of(self, content: bytes | None) -> list[bytes]:
        """The lines that something ends, None being the end of all; raises as `run_together`."""
        self._rest += content or b""
        self._bytes += len(content or b"")
        found = []
        if content is None:
            found = [bytes(self._rest)] if self._rest else []
        elif b"\n" in content:
            *ends, rest = bytes(self._rest).split(b"\n")
            found, self._rest = [end + b"\n" for end in ends], bytearray(rest)
        self.lines += found
        afar = self._afar
        if afar is not None and (len(self.lines) > afar.lines or self._bytes > _MOST_BYTES):
            raise unasked(afar.name, (self.lines or [bytes(self._rest[:40])])[-1])
        return found


def _next(printed: Printed, afar: Afar | None) -> tuple[int, bytes | None]:
    try:
        return printed.get(timeout=None if afar is None else ssh.LINE_S)
    except queue.Empty:
        assert afar is not None
        raise silent(afar.name, ssh.LINE_S) from None


def _code(process: subprocess.Popen[bytes], afar: Afar | None) -> int:
    """The exit code of a process that prints nothing any more."""
    try:
        return process.wait(None if afar is None else ssh.LINE_S)
    except subprocess.TimeoutExpired:
        assert afar is not None
        raise silent(afar.name, ssh.LINE_S) from None


@contextlib.contextmanager
def started(command: Sequence[str], stdin: Any) -> Iterator[Started]:
    """A process and what it says on standard error; it is ended at the end. Raises TfedgeError where
    there is no such program."""
    try:
        process = subprocess.Popen(
            command,
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
    except OSError as error:
        raise TfedgeError(f"cannot start {command[0]}: {error.strerror}") from error
    assert process.stderr is not None
    try:
        yield process, LastWords(process.stderr)
    finally:
        process.kill()
        process.wait()


def _read(process: subprocess.Popen[bytes], number: int, printed: Printed) -> None:
    """Nobody waits for this: children of a killed process may hold the pipe open for a long time."""
    assert process.stdout is not None
    with process.stdout as stdout:
        while content := os.read(stdout.fileno(), _CHUNK):
            printed.put((number, content))
    printed.put((number, None))


def environment() -> dict[str, str]:
    """The environment of a process that must find this tfedge, whichever folder it starts in.

    ARM_PATH is what the emulated boards of the test suite take instead of PYTHONPATH.
    """
    paths = [_PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "ARM_PATH": _PACKAGE_ROOT}
