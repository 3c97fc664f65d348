"""What a command tells beside its result: how it took what could be taken in two ways."""

from __future__ import annotations

import functools
import os

from tfedge.runtime.terminal import say

# Of the environment, which the stages of a recipe get too: what --quiet and --verbose set.
VERBOSITY = "TFEDGE_VERBOSITY"
QUIET, VERBOSE = "quiet", "verbose"


def is_quiet() -> bool:
    """Whether nothing but results and errors is to be told."""
    return os.environ.get(VERBOSITY) == QUIET


def is_verbose() -> bool:
    """Whether what TensorFlow tells and where errors come from is told, too."""
    return os.environ.get(VERBOSITY) == VERBOSE


@functools.cache  # a file is read more than once
def note(line: str) -> None:
    """Prints a line on standard error, once a process."""
    if not is_quiet():
        say(f"tfedge: note: {line}")
