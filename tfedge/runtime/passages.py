"""The passages of files of text: their lines, their paragraphs, or all that a file holds."""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tfedge.runtime.errors import OptionError, TextError, one_line

BY = ("line", "paragraph", "file")
SUFFIXES = (".txt", ".md")
MAX_FILE_BYTES = 8 << 20
# What a text may be cut between: words, 16 letters of longer ones, and characters of scripts that have
# no blanks (CJK radicals to Yi, and the later blocks of Chinese).
_NO_BLANKS = r"\u2e80-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[^\s{_NO_BLANKS}]{{1,16}}|\S")
_OVERLAP = 5  # two parts of a text share a fifth of the words

Skip = Callable[[str], None]  # told what is left out, and why


def find_files(paths: Iterable[str], suffixes: Iterable[str], skip: Skip) -> Iterator[str]:
    """The files among `paths`, whatever they are called, and those in folders, sorted, whose names
    end in one of `suffixes` in any case. As ripgrep does, it leaves out hidden files and folders and
    symbolic links inside folders. Raises OptionError where one of `paths` does not exist."""
    endings = tuple(suffix.lower() for suffix in suffixes)
    for path in paths:
        if not Path(path).exists():
            raise OptionError(f"{path}: no such file or folder")
        if not Path(path).is_dir():
            yield path
            continue
        for folder, folders, files in os.walk(
            path, onerror=lambda error: skip(_why(os.fsdecode(error.filename), error))
        ):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                is_asked = name.lower().endswith(endings) and not name.startswith(".")
                if is_asked and not (file := Path(folder, name)).is_symlink():
                    yield str(file)


def read_passages(path: str, by: str) -> Iterator[tuple[int, str]]:
    """The passages of a file, which is read at once, as (number of the first line, text); those
    without a letter or a digit, such as rules, are left out. `by` is one of `BY`.

    Raises TextError where the file cannot be read, is not UTF-8 or is larger than `MAX_FILE_BYTES`.
    """
    try:
        # Looked at before it is opened: opening a FIFO would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise TextError(f"{path}: not a file")
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise TextError(f"{path}: larger than {MAX_FILE_BYTES} bytes; split it")
        content = raw.decode("utf-8-sig")
    except OSError as error:
        raise TextError(_why(path, error)) from error
    except UnicodeDecodeError:
        raise TextError(f"{path}: not UTF-8") from None
    return ((line, text) for line, text in _parts(content, by) if any(map(str.isalnum, text)))


def _parts(content: str, by: str) -> Iterator[tuple[int, str]]:
    """One after the other: a list of short ones takes a hundred times the file."""
    if by == "file":
        yield 1, content
        return
    first, begin = 1, 0  # of a paragraph
    for number, start, end in _lines(content):
        if by == "line":
            yield number, content[start:end].removesuffix("\n")
        elif not content[start:end].strip():
            yield first, content[begin:start]
            first, begin = number + 1, end
    if by == "paragraph":
        yield first, content[begin:]


def _lines(content: str) -> Iterator[tuple[int, int, int]]:
    """The number of each line, where it begins and where it ends."""
    end = 0
    for number in itertools.count(1):
        start, end = end, content.find("\n", end) + 1 or len(content)
        if start == end:
            return
        yield number, start, end


def cut(line: int, text: str, fits: Callable[[str], bool], most: int) -> Iterator[tuple[int, str]]:
    """A passage as parts that fit into a model, which overlap by a fifth of their words: the number of
    the line where each begins, and its text, every run of white space one blank.

    Args:
        line: where the passage begins.
        fits: whether the model reads a text to its end.
        most: words that are tried at once; the tokens that the model takes are enough.

    Raises:
        TextError: a word does not fit; and what `fits` raises.
    """
    if fits(whole := one_line(text)):
        yield line, whole
        return
    found = _WORD.finditer(text)  # a list of all would take thirty times the text
    words: list[tuple[int, int]] = []
    counted = 0
    while True:
        words += [match.span() for match in itertools.islice(found, most + 1 - len(words))]
        start = words[0][0]
        line, counted = line + text.count("\n", counted, start), start
        last, wrong = 0, min(len(words), most) + 1
        while wrong - last > 1:
            middle = (last + wrong) // 2
            if fits(one_line(text[start : words[middle - 1][1]])):
                last = middle
            else:
                wrong = middle
        if last == 0:
            raise TextError("a word is longer than the model")
        yield line, one_line(text[start : words[last - 1][1]])
        if last == len(words):
            return
        words = words[last - last // _OVERLAP :]


def _why(path: str, error: OSError) -> str:
    return f"{path}: cannot be read: {error.strerror}"
