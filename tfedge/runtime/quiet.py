"""Keeps the runtimes' chatter off standard error."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator

# Standard error is the whole process's: two threads would give back each other's.
_LOCK = threading.Lock()
_LONGEST_WAIT_S = 1.0
# Of a panic, the empty line before it, and from its place in tokenizers to its last line all calls.
_PANIC = "/^$/d; /^thread '.*' .*panicked at /,/^note: /d"


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Keeps the runtimes' "INFO:" lines off standard error, which no setting of theirs does, and what
    tokenizers prints of a panic, which becomes an error with a message of its own.

    The filter is a process of its own, so that all else that native code prints comes out, even if
    it crashes next.
    """
    if sys.stderr is None or (sed := shutil.which("sed")) is None:
        yield
        return
    sys.stderr.flush()
    with _LOCK:
        stderr = os.dup(2)
        # In a session of its own it outlives a Ctrl-C that is meant for this program.
        process = subprocess.Popen(
            [sed, "-e", "/^INFO: /d", "-e", _PANIC],
            stdin=subprocess.PIPE,
            stdout=stderr,
            start_new_session=True,
        )
        assert process.stdin is not None
        os.dup2(process.stdin.fileno(), 2)
        process.stdin.close()
        try:
            yield
        finally:
            os.dup2(stderr, 2)  # closes the filter's input, so it ends
            os.close(stderr)
            # Not what another thread has started meanwhile, and holds that input as long as it runs.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LONGEST_WAIT_S)


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Has nothing come out on standard error, of any thread of the process."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
