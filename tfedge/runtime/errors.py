"""Errors of the board side. Each is one line for the user and has an exit code of `tfedge-infer`."""

from __future__ import annotations


class InferenceError(Exception):
    """What was given, what is allowed, what to do next: the message is shown to the user as it is."""

    exit_code = 1


class TextError(InferenceError, ValueError):
    """A text cannot be answered; other texts can."""


class ImageError(TextError):
    """An image cannot be answered; other images can."""


class OptionError(InferenceError, ValueError):
    """An argument of `load` or of a pipeline, or an option of `tfedge-infer`, is out of range."""

    exit_code = 2


class ModelFileError(InferenceError, ValueError):
    """The model file is missing, damaged, foreign, or its metadata contradict the model."""

    exit_code = 3


class IndexFileError(InferenceError, ValueError):
    """The index of a search is missing, damaged, or of another model."""

    exit_code = 3


class BackendError(InferenceError, RuntimeError):
    """There is no suitable runtime or delegate here, or the runtime refuses the model."""

    exit_code = 4


def one_line(message: object) -> str:
    """`message` with every run of white space (native errors span lines) turned into one blank."""
    return " ".join(str(message).split())
