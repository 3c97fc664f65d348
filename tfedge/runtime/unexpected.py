"""What no message foresaw: told in one line, with the details in a file for whoever reports it."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback

from tfedge import __version__

EXIT_UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h


def describe(error: BaseException, program: str) -> str:
    """What the user is told of `error`, whose traceback goes into a file where one can be written."""
    what = f"unexpected {type(error).__name__}: {error}"
    try:
        path = _write(error, program)
    except (OSError, MemoryError):
        return f"{what}; please report it"
    return f"{what}; please report it with {path}"


def _write(error: BaseException, program: str) -> str:
    """The file with the traceback, the command and the versions."""
    handle, path = tempfile.mkstemp(prefix=f"{program.split()[0]}-error-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        print(f"{program} {__version__}, Python {platform.python_version()}", file=file)
        print(f"{platform.platform()}, arguments: {sys.argv[1:]}\n", file=file)
        traceback.print_exception(type(error), error, error.__traceback__, file=file)
    return path
