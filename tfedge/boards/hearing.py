"""Hears a process that may say anything, or nothing, for ever, as a board at the end of ssh may."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import IO

_KEPT_BYTES = 1 << 16
_HELD_OPEN_S, _PAUSE_S = 5.0, 0.2


class LastWords:
    """The end of what a process says on a stream. All of it is read as it comes, so that the process
    can go on, and no more is kept than a message needs.

    Args:
        stream: a pipe, which is closed at its end.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._kept = stream, b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._stream as stream:
            while chunk := os.read(stream.fileno(), _KEPT_BYTES):
                self._kept = (self._kept + chunk)[-_KEPT_BYTES:]

    @property
    def line(self) -> str:
        """The last line of a process that has ended; empty where it said nothing.

        Others may hold the pipe open, such as a connection of ssh that is there for the next ones;
        what is in the pipe is all that there is then.
        """
        end = time.monotonic() + _HELD_OPEN_S
        with contextlib.suppress(ValueError, OSError):  # it has been closed, or is at this moment
            while select.select([self._stream], [], [], 0)[0] and time.monotonic() < end:
                time.sleep(0.01)
        self._reader.join(_PAUSE_S)
        said = self._kept.decode(errors="replace").strip()
        return said.splitlines()[-1] if said else ""


class Patience:
    """How long a process may take for one step; then it is killed.

    Attributes:
        is_over: whether it was.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.is_over = False

    def _end(self) -> None:
        self.is_over = True
        self._process.kill()

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """The time of a block, which reads from the process or writes to it; where it is over, the
        block finds what it finds of a process that has ended."""
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
