"""Has what `tfedge.runtime.apart` starts begin as a fork, and saves the start of Python.

All else of it stays: the program with its arguments, its limits, its crashes and the memory it takes.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from tfedge.runtime import apart


class Forks:
    """What `apart` takes of subprocess."""

    PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
    TimeoutExpired = subprocess.TimeoutExpired

    @staticmethod
    def run(
        command: Sequence[str], *, input: bytes, timeout: float, env: Mapping[str, str], **_: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """As subprocess.run, of `python -m MODULE ARGUMENTS`."""
        given, said = (os.memfd_create(name) for name in ("given", "said"))
        os.write(given, input)
        os.lseek(given, 0, os.SEEK_SET)
        pid = os.fork()
        if pid == 0:
            _become(command[2], command[3:], env, (given, said, os.open(os.devnull, os.O_WRONLY)))
        try:
            status = _wait(pid, time.monotonic() + timeout)
            if status is None:
                raise subprocess.TimeoutExpired(command, timeout)
            output = os.pread(said, 1 << 20, 0)
        finally:
            os.close(given)
            os.close(said)
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), output, b"")


def _become(
    module: str, arguments: Sequence[str], env: Mapping[str, str], streams: Sequence[int]
) -> NoReturn:
    """The forked process."""
    code = 1
    try:
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.environ.update(env)
        sys.argv = [module, *arguments]
        # New ones: what the others hold is of the process that was forked.
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
    finally:
        os._exit(code)


def _wait(pid: int, end: float) -> int | None:
    """Its status; None where it had to be killed."""
    pause = 0.001
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def fork_trials() -> None:
    """From now on, in this process and its forks."""
    apart.subprocess = Forks  # type: ignore[assignment]
