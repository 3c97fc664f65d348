"""Runs a program of tfedge again and again, each time in a fork of this process.

`python fork_server.py PROGRAM`. What costs time, importing, is done once; each run is a process of
its own with limits, whose crash, hang or hunger is only its own, and so is what it starts to try a
model or a tokeniser (trials.py). A line of standard input is a JSON object {"argv", "folder", "cpu_s"},
the line that comes back says how the run ended. The folder's `stdin` is the run's standard input,
`stdout` and `stderr` take what it prints.

What goes on to TensorFlow, or to a process that runs a model for the host, has been let in: there
it ends as `ACCEPTED`, because nothing before that has refused it, and what follows takes seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import platform
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from trials import fork_trials

ACCEPTED = 99  # no exit code of tfedge
WALL_S = (
    40  # of a run; processors are shared, so that what counts is their seconds, which are asked
)
DATA_BYTES = 4 << 30  # not addresses, of which the engine that draws charts reserves a terabyte
FILE_BYTES = 64 << 20
HEAVY = ("tensorflow", "tf_keras")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = (
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.truncate",
)
# What a program imports before it has seen its input; nothing of it imports TensorFlow.
PROGRAMS: dict[str, tuple[str, ...]] = {
    "tfedge-infer": (
        "tfedge.runtime.infer",
        "tfedge.runtime.pipeline",
        "tfedge.runtime.rehearsal",
        "tfedge.runtime.search_commands",
        "tfedge.runtime.search",
        "tfedge.runtime.tokenizer",
        "tfedge.runtime.unexpected",
    ),
    "tfedge": (
        "tfedge.cli",
        "tfedge.data.texts",
        "tfedge.data.tokenizer",
        "tfedge.inspect.report",
        "tfedge.edgetpu.check",
        "tfedge.models.folder",
        "tfedge.recipes.run",
        "tfedge.report.write",
        "tfedge.runtime.trial",
        "tfedge.runtime.unexpected",
    ),
}


class _Gate:
    """Ends a run at the door of what takes seconds."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] in HEAVY:
            os._exit(ACCEPTED)


def _watch(folder: str, may_start: bool) -> None:
    """Writes down each place outside of the folder that the run changes.

    Args:
        may_start: whether it goes on where it starts a process.
    """
    log = os.open(os.path.join(folder, "outside"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # noqa: PTH118
    inside = os.path.realpath(folder) + os.sep
    watched = os.getpid()  # not what it forks, which has limits to set for itself

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if os.getpid() != watched:
            return
        if event == "subprocess.Popen" and not may_start:
            os._exit(ACCEPTED)
        is_write = event == "open" and (arguments[2] or 0) & _WRITING
        if not is_write and event not in _CHANGES:
            return
        for place in arguments[:1] if is_write else arguments[:2]:
            if not isinstance(place, (str, bytes)):
                continue
            found = os.path.realpath(os.fsdecode(place))
            if not (found + os.sep).startswith(inside) and found != os.devnull:
                os.write(log, f"{event} {found!a}\n".encode())

    sys.addaudithook(note)


def _start(main: Callable[[list[str]], int], asked: dict[str, Any]) -> NoReturn:
    """The forked process."""
    code, folder = 70, asked["folder"]
    try:
        os.setsid()
        for name, descriptor in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(os.path.join(folder, name), flags, 0o600), descriptor)  # noqa: PTH118
        os.chdir(folder)
        os.environ["TMPDIR"] = os.path.join(folder, "tmp")  # noqa: PTH118
        os.environ["XDG_CACHE_HOME"] = os.path.join(folder, "cache")  # noqa: PTH118
        tempfile.tempdir = None  # which another run may have set
        resource.setrlimit(resource.RLIMIT_CPU, (asked["cpu_s"], asked["cpu_s"] + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _watch(folder, may_start=sys.argv[1].startswith("tfedge-infer"))
        try:
            code = main(asked["argv"])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError):  # closed, as Python's own end takes it
                stream.flush()
    except BaseException:  # what a program would show as a traceback
        os.write(2, traceback.format_exc().encode(errors="replace"))
        code = 70
    finally:
        os._exit(code)


def _wait(pid: int, cpu_s: int) -> tuple[int, bool, int]:
    """Status, whether it took too long, and the most memory in KB."""
    end = time.monotonic() + WALL_S
    pause = 0.001
    while time.monotonic() < end:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU,)
            hung = hung or usage.ru_utime + usage.ru_stime >= cpu_s
            return status, hung, usage.ru_maxrss
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return status, True, usage.ru_maxrss


def _run(main: Callable[[list[str]], int], asked: dict[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if pid == 0:
        _start(main, asked)
    status, hung, kilobytes = _wait(pid, asked["cpu_s"])
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # children that it left
    is_signal = os.WIFSIGNALED(status)
    return {
        "code": None if is_signal else os.WEXITSTATUS(status),
        "signal": os.WTERMSIG(status) if is_signal else None,
        "hung": hung,
        "rss_mb": kilobytes / 1024,
    }


def program(name: str) -> Callable[[list[str]], int]:
    """A function of the arguments that does what the program does.

    Args:
        name: `module:function` names another; of tfedge-infer, `@RUNTIME` the one that is loaded, by
            default the one that answers where nobody says.
    """
    if ":" in name:  # what the tests plant
        module, function = name.split(":")
        found: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
        return found
    name, _, runtime = name.partition("@")
    for module in PROGRAMS[name]:
        importlib.import_module(module)
    if name == "tfedge-infer":
        from tfedge.runtime.infer import main as infer
        from tfedge.runtime.runtimes import RUNTIMES, import_runtime

        installed = [one for one, way in RUNTIMES.items() if way.installed()]
        import_runtime(runtime or installed[0])
        entry: Callable[[], Any] = infer
    else:
        from tfedge.cli import run as entry

    def main(argv: list[str]) -> int:
        sys.argv = [name, *argv]
        entry()
        return 0

    return main


def _resident_mb() -> float:
    """Memory of this process; what getrusage calls its most is also that of whoever started it."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    run = program(sys.argv[1])
    fork_trials()
    # What is said of an unexpected error names the system, for which Python starts a program, the first
    # time: at the door of what starts one, the error would pass for an input that has been let in.
    platform.platform()
    if not set(HEAVY) & set(sys.modules):
        sys.meta_path.insert(0, _Gate())  # type: ignore[arg-type]
    base = _resident_mb()
    sink.write(json.dumps({"base_mb": base}).encode() + b"\n")
    sink.flush()
    for line in source:
        answer = _run(run, json.loads(line))
        sink.write(json.dumps(answer).encode() + b"\n")
        sink.flush()


if __name__ == "__main__":
    main()
