"""What the commands of `tfedge-infer` share: messages, lines of output, and how a model is loaded."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from tfedge.runtime import render
from tfedge.runtime.errors import (
    NO_MEMORY,
    BackendError,
    InferenceError,
    lacks_memory,
    one_line,
    shortened,
)
from tfedge.runtime.runtimes import MAX_THREADS, RUNTIMES, is_limited

if TYPE_CHECKING:
    from tfedge.runtime.pipeline import Pipeline

PROGRAM = "tfedge-infer"
LOADING = ("runtime", "num_threads", "delegate", "device", "length", "trust")  # arguments of `load`

_LOADING_OPTIONS = (
    click.option(
        "--threads",
        "num_threads",
        type=click.IntRange(1, MAX_THREADS),
        metavar="N",
        help="Threads of the runtime (default: the number of processors, at most 4).",
    ),
    click.option(
        "--runtime",
        type=click.Choice(list(RUNTIMES)),
        help="Default: the first one installed that the model was verified on.",
    ),
    click.option(
        "--delegate",
        metavar="NAME",
        help="edgetpu: the Edge TPU by the host's libedgetpu, for a model of `tfedge edgetpu compile`;"
        " or a delegate library.",
    ),
    click.option(
        "--device",
        metavar="usb|pci[:N]",
        help="Which Edge TPU, e.g. usb:0 or pci:1 (default: any).",
    ),
    click.option(
        "--length",
        type=click.IntRange(min=1),
        metavar="N",
        help="Run all texts in the graph for N tokens (default: each in the shortest that holds it).",
    ),
    click.option(
        "--trust",
        is_flag=True,
        help="Load the model at once. Otherwise one that is seen here for the first time is loaded and"
        " run in a process of its own before, in case that it crashes.",
    ),
)


def loading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options that `LOADING` names."""
    for option in reversed(_LOADING_OPTIONS):
        command = option(command)
    return command


def load_model(path: str, loading: Mapping[str, Any]) -> Pipeline:
    """`tfedge.runtime.load`; `loading` are its other arguments. Raises as it does, and BackendError
    where a package of the base install does not load."""
    # Makes hashlib compute by itself: OpenSSL, which it and numpy load, takes 3 MB of a board's memory.
    sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type]
    if is_limited():
        # Its threads, which nothing here needs, wait for ever for memory that they do not get.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        from tfedge.runtime.pipeline import load
    except ImportError as error:
        if lacks_memory(error):
            raise BackendError(NO_MEMORY) from error
        raise BackendError(
            f"a package of the base install does not load: {one_line(error)}; `{PROGRAM} --doctor` says"
            " how to fix it"
        ) from error
    model = load(path, **loading)
    # Not before: numpy makes an error of its own of one that comes while it is imported.
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.stderr is not None:
        model.hide_panics()
    return model


def print_line(line: str) -> None:
    """Raises:
    BrokenPipeError: nobody reads any more.
    InferenceError: the answers cannot be written for another reason.
    """
    if sys.stdout is None:
        raise InferenceError("the answers cannot be written: standard output is closed")
    try:
        sys.stdout.buffer.write(render.encode(line))
        sys.stdout.buffer.flush()
    except OSError as error:
        # What is left in the buffer would fail once more when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise InferenceError(f"the answers cannot be written: {error.strerror}") from error


def complain(message: str, program: str = PROGRAM) -> None:
    """Says something on standard error, in one line; goes on where that cannot be written."""
    if sys.stderr is None:  # closed; print() would then write to standard output
        return
    try:
        print(f"{program}: {shortened(message)}", file=sys.stderr, flush=True)
    except OSError:
        # As in `print_line`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
