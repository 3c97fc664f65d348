"""The packages that run .tflite files: which there are, and which one a model gets."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import mmap
import os
import platform
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tfedge.runtime.errors import NO_MEMORY, BackendError, OptionError, lacks_memory, one_line

MAX_THREADS = 64
_STACK_BYTES = 8 << 20  # of a thread, where ulimit does not say
_SPARE_BYTES = 32 << 20
_DEFAULT_MAX_THREADS = 4  # of the boards; more threads only wait for each other on small matrices


@dataclasses.dataclass(frozen=True)
class Runtime:
    """A package that runs .tflite files, its name on PyPI, and what its wheels there need."""

    module: str
    package: str
    needs: str = ""  # for people
    oldest: tuple[int, int] = (3, 9)  # of Python
    newest: tuple[int, int] | None = None
    glibc: tuple[int, int] = (2, 0)
    bits: int = 32  # of Python, at least
    systems: tuple[str, ...] = ("linux", "darwin")

    @property
    def interpreter(self) -> str:
        """The name of the module that has the interpreter."""
        return f"{self.module}.interpreter"

    def installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None

    def version(self) -> str:
        """The installed version; empty in a build that does not say."""
        return str(getattr(importlib.import_module(self.module), "__version__", ""))

    def has_wheel(self) -> bool:
        """Whether pip finds one for this Python and this system."""
        python, glibc = sys.version_info[:2], _glibc()
        return (
            self.oldest <= python <= (self.newest or python)
            and (glibc is None or glibc >= self.glibc)
            and self.bits <= _BITS
            and sys.platform in self.systems
        )


def _glibc() -> tuple[int, ...] | None:
    name, version = platform.libc_ver()
    return tuple(map(int, version.split("."))) if name == "glibc" else None


_BITS = 64 if sys.maxsize > 2**32 else 32
# By what is to be preferred: what tflite-runtime 2.14 runs, LiteRT 2 runs too.
RUNTIMES: Mapping[str, Runtime] = {
    "tflite-runtime": Runtime(
        "tflite_runtime",
        "tflite-runtime",
        "Python 3.9 to 3.11 on Linux with glibc 2.34 or later",
        newest=(3, 11),
        glibc=(2, 34),
        systems=("linux",),
    ),
    "litert": Runtime(
        "ai_edge_litert",
        "ai-edge-litert",
        "a 64-bit Python 3.10 or later and, on Linux, glibc 2.27 or later",
        oldest=(3, 10),
        glibc=(2, 27),
        bits=64,
    ),
}


def default_runtime() -> str:
    """What a model is made for where nobody says: the first that is installed, else the first that
    can be."""
    installed = [name for name, runtime in RUNTIMES.items() if runtime.installed()]
    possible = [name for name, runtime in RUNTIMES.items() if runtime.has_wheel()]
    return next(iter([*installed, *possible, *RUNTIMES]))


def how_to_install(names: Sequence[str]) -> str:
    """The command for those of `names` that have a wheel for this Python and this system, or what
    their wheels need."""
    fitting = [name for name in names if RUNTIMES[name].has_wheel()]
    if fitting:
        return " or ".join(f"`pip install {RUNTIMES[name].package}`" for name in fitting)
    return "no wheel fits this Python here; " + "; ".join(
        f"{name} needs {RUNTIMES[name].needs}" for name in names
    )


def runtime_name(runtime: str) -> str:
    """The key of a runtime and its version, for people."""
    return f"{runtime} {RUNTIMES[runtime].version()}".rstrip()


def default_threads() -> int:
    """The processors this process may use, at most 4."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, _DEFAULT_MAX_THREADS)


def check_threads(count: int) -> None:
    """Raises BackendError where a process cannot have as many threads more.

    The memory that ulimit leaves, or its number of processes, may not do: tflite-runtime then waits for
    ever for the threads that it could not start.
    """
    try:
        if room := _room_for(count):
            mmap.mmap(-1, room).close()
        else:
            _start_threads(count)
    except (OSError, RuntimeError, MemoryError) as error:
        raise BackendError(
            f"{count} threads cannot be started here ({one_line(error)}): ask for fewer (--threads 1,"
            " num_threads=1), or let the process have more memory and processes (ulimit -v, -u)"
        ) from error


def is_limited() -> bool:
    """Whether this process has an address space of its own size, as `ulimit -v` gives it."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _room_for(count: int) -> int:
    """Bytes of the address space that threads and an interpreter take, where it is limited, else 0.

    Threads of Python would take 64 MB each to allocate from, which those of a runtime do not.
    """
    if not is_limited():
        return 0
    import resource

    stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
    return count * (stack if stack != resource.RLIM_INFINITY else _STACK_BYTES) + _SPARE_BYTES


def _start_threads(count: int) -> None:
    """Raises RuntimeError where there cannot be as many at once."""
    over = threading.Event()
    started = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=over.wait)
            thread.start()
            started.append(thread)
    finally:
        over.set()
        for thread in started:
            thread.join()


def choose_runtime(wanted: str | None, allowed: Sequence[str], here: bool = False) -> str:
    """Names the runtime to use.

    Args:
        wanted: a key of `RUNTIMES`, or None for the first of `allowed` that is installed.
        allowed: the runtimes that the model was verified on.
        here: whether it is to run in this process, in which another one may be the first that can.

    Raises:
        OptionError: `wanted` is no runtime.
        BackendError: `wanted` is not allowed (an unverified runtime may crash: tflite-runtime 2.14
            does on 64-bit ARM with dense weights quantised per channel), or none is installed.
    """
    if wanted is not None and wanted not in RUNTIMES:
        raise OptionError(f"unknown runtime {wanted!r}; known are {', '.join(RUNTIMES)}")
    usable = [name for name in allowed if name in RUNTIMES]
    if wanted is not None and wanted not in usable:
        raise BackendError(
            f"the model was not verified on {wanted}, only on {', '.join(allowed) or 'no runtime'};"
            f" convert it with `tfedge convert --runtime {wanted}`"
            + "".join(f" or use --runtime {name}" for name in usable[:1])
        )
    candidates = usable if wanted is None else [wanted]
    installed = [name for name in candidates if RUNTIMES[name].installed()]
    possible = [name for name in installed if not (here and _crashes_here(name))]
    if installed:
        return (possible or installed)[0]  # `import_runtime` tells why the latter cannot run here
    raise BackendError(_missing(candidates, allowed))


def _missing(candidates: Sequence[str], allowed: Sequence[str]) -> str:
    if not candidates:
        return (
            f"the model was verified on {', '.join(allowed) or 'no runtime'}; this version of tfedge"
            f" runs {', '.join(RUNTIMES)}: convert it with `tfedge convert --runtime NAME`"
        )
    message = f"the model needs {' or '.join(candidates)}, which is not installed: "
    message += how_to_install(candidates)
    others = [name for name in RUNTIMES if name not in candidates and RUNTIMES[name].installed()]
    if others:
        message += f"; for {others[0]}, convert it with `tfedge convert --runtime {others[0]}`"
    return message


def _crashes_here(name: str) -> bool:
    """Whether TensorFlow, which is in this process, and a runtime crash each other."""
    return name == "tflite-runtime" and "tensorflow" in sys.modules


def import_runtime(name: str) -> Any:
    """Imports the interpreter module of runtime `name`; raises BackendError where it cannot work in
    this process."""
    if name == "tflite-runtime":
        if _crashes_here(name):
            raise BackendError(
                "tflite-runtime and TensorFlow, which is in this process, crash each other; load the"
                " model in another process or, where it was verified on that and ai-edge-litert is"
                " installed, with runtime='litert'"
            )
        import numpy as np

        # Its extension module is built against numpy 1 and prints a page of warnings under numpy 2.
        if int(np.__version__.split(".")[0]) >= 2:
            raise BackendError(
                f"tflite-runtime does not work with numpy {np.__version__}: `pip install 'numpy<2'`"
            )
    try:
        return importlib.import_module(RUNTIMES[name].interpreter)
    except (ImportError, OSError) as error:  # the latter of a library that it opens by itself
        if lacks_memory(error):
            raise BackendError(NO_MEMORY) from error
        raise BackendError(
            f"{name} is installed but cannot be imported: {one_line(error)};"
            f" `pip install --force-reinstall {RUNTIMES[name].package}`"
        ) from error
