"""Errors of the board side. Each is one line for the user and has an exit code of `tfedge-infer`."""

from __future__ import annotations

import errno

NO_MEMORY = "the memory of this machine, or what ulimit leaves of it, is not enough for this"
# What the loader says of a library.
_NO_ROOM = ("failed to map segment", "annot allocate memory")
# What the system says of a path that it cannot follow, wherever one was given.
_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)
LONGEST_MESSAGE = 1000
# Control characters; half a character beyond U+FFFF could not be written at all.
_CONTROLS = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000))
}


class InferenceError(Exception):
    """What was given, what is allowed, what to do next: the message is shown to the user as it is."""

    exit_code = 1


class TextError(InferenceError, ValueError):
    """A text cannot be answered; other texts can."""


class TextTypeError(TextError, TypeError):
    """What is given is no text, pair or image, nor several of these."""


class PanicError(TextError):
    """The tokeniser itself breaks on a text."""


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


def pathless(error: BaseException) -> str:
    """What is said of a path that the system cannot follow; empty for other errors."""
    if isinstance(error, OSError) and error.errno in _NO_PATH and error.filename:
        return f"{error.filename}: {error.strerror}; give another path"
    return ""


def lacks_memory(error: BaseException | None) -> bool:
    """Whether it, or what it comes of, is want of memory, as of a library that is to be loaded."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, (ImportError, OSError)) and any(map(str(error).count, _NO_ROOM)):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_plain(text: str) -> bool:
    """Whether a text can be written in UTF-8 and has no control characters, tabs and line ends too."""
    return not _CONTROLS.keys() & set(map(ord, text))


def one_line(message: object) -> str:
    """`message` with every run of white space (native errors span lines) turned into one blank, and
    what else moves a terminal's cursor or colours it (names in files may) written as \\x1b."""
    return escaped(" ".join(str(message).split()))


def escaped(text: str) -> str:
    """`text` with its control characters, tabs and line ends too, written as \\x1b."""
    return text.translate(_CONTROLS)


def shortened(message: object) -> str:
    """`message` in one line of at most `LONGEST_MESSAGE` characters, without its middle if need be."""
    line = one_line(message)
    if len(line) <= LONGEST_MESSAGE:
        return line
    left = LONGEST_MESSAGE // 2
    return f"{line[:left]} [... {len(line) - 2 * left} characters ...] {line[-left:]}"
