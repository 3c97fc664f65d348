"""What the commands of `tfedge-infer` share: messages, lines of output, and how a model is loaded."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click

from tfedge.runtime import render
from tfedge.runtime.errors import (
    NO_MEMORY,
    BackendError,
    InferenceError,
    ModelFileError,
    lacks_memory,
    one_line,
    pathless,
    shortened,
)
from tfedge.runtime.runtimes import MAX_THREADS, RUNTIMES, is_limited

if TYPE_CHECKING:
    from tfedge.runtime.pipeline import Pipeline

PROGRAM = "tfedge-infer"
_UNWRITTEN = "the answers cannot be written"
_STREAMS = (
    ("stdin", "r", os.O_RDONLY),
    ("stdout", "w", os.O_RDONLY),
    ("stderr", "w", os.O_WRONLY),
)
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
    try:
        sys.stdout.buffer.write(render.encode(line))
        sys.stdout.buffer.flush()
    except OSError as error:
        silence(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise InferenceError(_unwritten(error)) from error


def _unwritten(error: OSError) -> str:
    """What is said of an error of standard output."""
    is_closed = error.errno == errno.EBADF
    return f"{_UNWRITTEN}: {'standard output is closed' if is_closed else error.strerror}"


def fill_closed(*names: str) -> None:
    """Puts /dev/null in the place of standard streams that are closed: a file that is opened next would
    else get their number, and what is said of it. It cannot be written in place of standard output,
    whose results must not vanish unnoticed.

    Args:
        names: of the streams that `sys` gets too, where it has None.
    """
    for number, (name, mode, flag) in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flag)  # gets the lowest number that is free
            if name in names:
                setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def complain(message: str, program: str = PROGRAM) -> None:
    """Says something on standard error, in one line; see `say`."""
    say(f"{program}: {message}")


def tell(error: BaseException, program: str) -> int:
    """Says in a line what ended a program and is no error of ours, and returns the exit code."""
    if lacks_memory(error):  # for one more import, too
        complain(NO_MEMORY)
        return BackendError.exit_code
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        complain(f"{error.strerror} for what `ulimit -n` allows; it needs about twenty")
        return BackendError.exit_code
    if said := pathless(error):
        complain(said)
        return ModelFileError.exit_code
    if said := unprinted(error):
        complain(said)
        return InferenceError.exit_code
    from tfedge.runtime.unexpected import EXIT_UNEXPECTED, describe

    complain(describe(error, program))
    return EXIT_UNEXPECTED


def unprinted(error: BaseException) -> str:
    """What is said of an error with which click prints, as --help does; empty for other errors."""
    trace, is_of_click = error.__traceback__, False
    while trace is not None:
        is_of_click |= trace.tb_frame.f_code is click.echo.__code__
        trace = trace.tb_next
    if not is_of_click or not isinstance(error, OSError):
        return ""
    # Or Python would try again at its end, and from 3.13 on report that with another code.
    silence(sys.stdout)
    return _unwritten(error)


def say(message: str) -> None:
    """Puts one line, cut and escaped, on standard error; goes on where that cannot be written."""
    put(shortened(message))


def put(text: str) -> None:
    """Puts a text of our own on standard error as it is; goes on where that cannot be written."""
    if sys.stderr is None:  # closed; print() would then write to standard output
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Has a stream that cannot be written lead nowhere: what is left in its buffer would fail once
    more when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
