"""Loads TensorFlow without its page of start-up notes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator

from tfedge.errors import MissingPackageError, host_extra
from tfedge.notes import is_verbose


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for devices, showing what it prints if that fails, or --verbose.

    The notes (CPU features, absent CUDA) come from C++ before any log level applies. Raises
    MissingPackageError where TensorFlow is not installed, or would crash.
    """
    if "tflite_runtime.interpreter" in sys.modules and "tensorflow" not in sys.modules:
        raise MissingPackageError(
            "this needs TensorFlow, which crashes in a process that has loaded tflite-runtime: start "
            "Python again (in a notebook, the kernel) and do this first, or load models with "
            "runtime='litert'"
        )
    was_absent = "tensorflow" not in sys.modules
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if is_verbose() else "2")
    with _held_back() as show:
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            if was_absent and not is_verbose():
                # Where Python is interactive, as in a notebook, TensorFlow logs what it writes.
                logging.getLogger("tensorflow").setLevel(logging.WARNING)
                logging.getLogger("tensorflow").addFilter(_is_about_the_run)
            if is_verbose():
                show()
        except BaseException as error:
            show()
            if isinstance(error, ModuleNotFoundError):
                raise MissingPackageError(
                    f"this needs TensorFlow ({error}): {host_extra()}"
                ) from error
            raise


def _is_about_the_run(record: logging.LogRecord) -> bool:
    """Without room for temporary files functions run as they are written, which changes nothing."""
    return not str(record.msg).startswith("AutoGraph could not transform")


@contextlib.contextmanager
def _held_back() -> Iterator[Callable[[], None]]:
    """Keeps what comes out on standard error, and yields what shows it."""
    if sys.stderr is None:  # closed: a file may have its number
        yield lambda: None
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:

        def show() -> None:
            notes.seek(0)
            with contextlib.suppress(OSError):  # it cannot be shown, which is no reason to end
                os.write(kept, notes.read())

        os.dup2(notes.fileno(), 2)
        try:
            yield show
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def without_output() -> Iterator[None]:
    """Has nothing come out on standard output, where results go: tokenizers puts keys of files there
    that it does not know, as they are."""
    try:
        kept = os.dup(1)
    except OSError:  # closed: a file may have its number
        yield
        return
    if sys.stdout is not None:
        sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
