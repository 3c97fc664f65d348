"""Keeps the runtimes' chatter off standard error."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Keeps the runtimes' "INFO:" lines off standard error, which no setting of theirs does.

    The filter is a process of its own, so that all else that native code prints comes out, even if
    it crashes next.
    """
    if sys.stderr is None or (sed := shutil.which("sed")) is None:
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    # In a session of its own it outlives a Ctrl-C that is meant for this program.
    arguments = [sed, "/^INFO: /d"]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=stderr, start_new_session=True
    ) as process:
        assert process.stdin is not None
        os.dup2(process.stdin.fileno(), 2)
        process.stdin.close()
        try:
            yield
        finally:
            os.dup2(stderr, 2)  # closes the filter's input, so it ends
            os.close(stderr)
