"""Reads files with a word and its label a line, as the CoNLL shared tasks have them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from tfedge.data.tables import lines_of
from tfedge.errors import InputError

SUFFIX = ".conll"
WORDS, TAGS = "tokens", "tags"
_DOCUMENT = "-DOCSTART-"  # what a line begins with that parts documents


def conll_rows(path: Path, content: str) -> Iterator[dict[str, list[str]]]:
    """The sentences, between which there are empty lines: words, the first of the columns, and labels,
    the last. Columns have a tab between them or, where a file has none, blanks.

    Raises InputError where a line has a word alone.
    """
    delimiter = "\t" if "\t" in content else None
    row: dict[str, list[str]] = {WORDS: [], TAGS: []}
    for number, line in enumerate(itertools.chain(lines_of(content), [""]), 1):
        line = line.rstrip("\r\n ")
        if not line.strip() or line.startswith(_DOCUMENT):
            if row[WORDS]:
                yield row
            row = {WORDS: [], TAGS: []}
            continue
        cells = [cell.strip() for cell in line.split(delimiter)]
        if len(cells) < 2 and line.startswith("# "):  # a comment of CoNLL-U
            continue
        if len(cells) < 2 or not cells[0] or not cells[-1]:
            raise InputError(
                f"{path}, line {number}: {line!r:.40} is not a word and its label with "
                f"{'a tab' if delimiter else 'a blank'} between them"
            )
        row[WORDS].append(cells[0])
        row[TAGS].append(cells[-1])
