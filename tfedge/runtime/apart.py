"""Runs a module of tfedge in a process of its own, whose crash, hang or hunger is only its own.

It prints what comes of it, and ends with `REFUSED` where that is what is wrong.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tfedge.runtime.errors import BackendError, ModelFileError, one_line

REFUSED = 3
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
_CRASHES = {-number.value: number.name for number in signal.Signals}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a process may take more than it has had when it limits itself."""

    seconds: int  # of the processor
    memory_bytes: int

    @property
    def wait_seconds(self) -> int:
        """How long it is waited for, on a machine that is busy with others."""
        return 10 * self.seconds + 30


def run(
    module: str, arguments: Sequence[str], limits: Limits, content: bytes = b""
) -> tuple[int, str]:
    """The exit code of a module that is run as a program, and the last line that it printed.

    Args:
        arguments: of the program, which has those for `limit` before them.
        content: its standard input.

    Raises:
        ModelFileError: a signal ended it, or it did not end; the message is a sentence's end.
        BackendError: no process can be started.
    """
    paths = [str(Path(__file__).resolve().parents[2])]
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RAYON_NUM_THREADS": "1"}
    environment["TOKENIZERS_PARALLELISM"] = "false"
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, dataclasses.astuple(limits)), *arguments],
            input=content,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a panic prints where in tokenizers it arose
            timeout=limits.wait_seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelFileError(f"it takes more than {limits.wait_seconds} seconds") from None
    except OSError as error:
        raise BackendError(f"no process can be started: {one_line(error)}") from error
    if done.returncode == -signal.SIGXCPU:
        raise ModelFileError(f"it takes more than {limits.seconds} seconds of the processor")
    if done.returncode < 0:
        how = _CRASHES.get(done.returncode, -done.returncode)
        most = f"{limits.memory_bytes >> 20} MB"
        raise ModelFileError(f"it crashes, or asks for more than {most} of memory ({how})")
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return done.returncode, lines[-1] if lines else ""


def limit(seconds: str, memory_bytes: str) -> None:
    """Puts `Limits` on this process, and has it end with the one that started it, where the system can
    do that."""
    end_with_parent(signal.SIGKILL)
    with contextlib.suppress(OSError):  # to be ended before others where memory ends
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        import resource
    except ImportError:  # Windows
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    had = 1 + int(used.ru_utime + used.ru_stime)
    _lower(resource.RLIMIT_CPU, had + int(seconds), had + int(seconds) + 1)
    _lower(resource.RLIMIT_CORE, 0, 0)
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        most = pages * resource.getpagesize() + int(memory_bytes)
        _lower(resource.RLIMIT_DATA, most, most)


def end_with_parent(by: signal.Signals) -> None:
    """Has Linux send a signal to this process when the one that waits for it ends, however it does."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(by))


def _lower(what: int, soft: int, hard: int) -> None:
    """Lowers a limit, and never lifts one."""
    import resource

    before = [
        limit if limit != resource.RLIM_INFINITY else sys.maxsize
        for limit in resource.getrlimit(what)
    ]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(what, (min(soft, *before), min(hard, before[1])))
