"""Errors of the host side that end a command in one line instead of a traceback."""

import contextlib
import sys
from collections.abc import Iterator

from tfedge import __version__
from tfedge.runtime.errors import BackendError, InferenceError


class TfedgeError(Exception):
    """What was given, what is allowed, what to do next: the message is shown to the user as it is."""

    exit_code = 1


class InputError(TfedgeError, ValueError):
    """A file, an option or a text that the user gave cannot be used."""

    exit_code = 3


class CheckpointError(InputError):
    """A checkpoint's config or tensors do not describe the model that is to be built."""


class MissingPackageError(TfedgeError, ImportError):
    """An optional package is absent; the message names the extra that brings it."""

    exit_code = 4


class RejectedModelError(TfedgeError):
    """A converted model crashed in the runtime it is meant for, or lost too much accuracy."""

    exit_code = 5


def host_extra() -> str:
    """How to get the packages of the host side, on a Python that has them."""
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        wheel = f"tfedge-{__version__}-py3-none-any.whl"
        return (
            "`pip install '.[convert]'` in a clone of tfedge's repository, or where its wheel is "
            f"`pip install './{wheel}[convert]'`"
        )
    return "TensorFlow has wheels for Python 3.11 to 3.13, install tfedge in one of these"


@contextlib.contextmanager
def board_errors() -> Iterator[None]:
    """Raises what the board's side refuses as the host's errors: InputError, MissingPackageError."""
    try:
        yield
    except BackendError as error:
        raise MissingPackageError(str(error)) from error
    except InferenceError as error:
        raise InputError(str(error)) from error
