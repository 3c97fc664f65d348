"""Keeps what native code prints away from standard output, which programs here speak on."""

from __future__ import annotations

import functools
import os
import sys


@functools.cache
def silence_native_output() -> None:
    """From now on only Python prints on standard output.

    MNN tells there of processors and of passes over the graph, some of it not before the process
    ends, so that nothing is given back.
    """
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
