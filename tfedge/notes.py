"""What a command tells beside its result: how it took what could be taken in two ways."""

from __future__ import annotations

import functools
import sys


@functools.cache  # a file is read more than once
def note(line: str) -> None:
    """Prints a line on standard error, once a process."""
    if sys.stderr is not None:  # closed; print() would then write to standard output
        print(f"tfedge: note: {line}", file=sys.stderr, flush=True)
