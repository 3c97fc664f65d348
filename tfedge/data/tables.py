"""Reads the rows of CSV and TSV, in the dialect that the file itself shows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tfedge.errors import InputError
from tfedge.notes import note
from tfedge.tasks import columns

LARGEST_FILE_BYTES = 2 << 30
_MOST_COLUMNS, _MOST_DELIMITERS = 10_000, 1_000_000  # in a line, which a text may have too
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# A field in quotes, from its first quote to its last; quotes inside are doubled.
_QUOTED = re.compile(r'(?<![^\t\n])"((?:[^"]|"")*+)"(?=[\t\r\n]|\Z)')


def table_rows(path: Path, content: str, suffix: str) -> Iterator[dict[str, str]]:
    """The rows by the names of columns, as `columns.named` writes these; those without are left out.

    Raises InputError where a row has more or fewer columns than the first line names, quotes do not
    fit, or the first line can be split in two ways.
    """
    # A text may be longer than csv's default limit of 128 KiB a field.
    csv.field_size_limit(LARGEST_FILE_BYTES)
    reader = _reader(path, content, suffix)
    try:
        header: list[str] = next(reader, [])
        names = columns.named(header, str(path))
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{path}, line {reader.line_num}, has {len(row)} columns where the first line "
                    f"names {len(header)}"
                )
            # pandas writes its index first, without a name.
            yield {name: cell for name, cell in zip(names, row, strict=True) if name}
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: {error}; quotes must be around a whole field, and those "
            "within it doubled"
        ) from error


def lines_of(content: str) -> Iterator[str]:
    """As `content.split("\\n")`, one by one: a list of short ones takes five times the file."""
    start = 0
    while (end := content.find("\n", start)) >= 0:
        yield content[start:end]
        start = end + 1
    yield content[start:]


def _reader(path: Path, content: str, suffix: str) -> Any:
    """What csv reads the file with."""
    header = content.partition("\n")[0]
    if (count := max(map(header.count, _DELIMITERS))) > _MOST_COLUMNS:
        raise InputError(
            f"{path} has {count + 1:,} columns in its first line; {_MOST_COLUMNS:,} are allowed, and "
            "two are needed: the text and its label"
        )
    delimiter = _delimiter(path, header, suffix)
    if delimiter == "\t" and not _quotes_tabs(path, content):
        lines = _narrow(lines_of(content), delimiter, path)
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    # Where a blank follows each delimiter, quotes begin behind it.
    blanks = delimiter != "\t" and f"{delimiter} " in header
    lines = _narrow(io.StringIO(content, newline=""), delimiter, path)
    return csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=blanks)


def _narrow(lines: Iterable[str], delimiter: str, path: Path) -> Iterator[str]:
    """The lines; raises InputError for one that would be a list as large as the machine's memory."""
    for number, line in enumerate(lines, 1):
        if line.count(delimiter) > _MOST_DELIMITERS:
            raise InputError(
                f"{path}, line {number}, has more than {_MOST_DELIMITERS:,} "
                f"{_DELIMITERS[delimiter]}; it is no row of a text and its label"
            )
        yield line


def _delimiter(path: Path, header: str, suffix: str) -> str:
    """What is between columns: that at which the first line falls into names that are known or, where
    it has none, what stands in it."""
    usual = "\t" if suffix == ".tsv" else ","
    there = [one for one in _DELIMITERS if one in header]
    fitting = [one for one in there if _knows(header, one)]
    if suffix == ".tsv":
        if fitting and usual not in header:
            raise InputError(
                f"{path} has {_DELIMITERS[fitting[0]]} between the names in its first line, not "
                "tabs; call it .csv, or separate columns by tabs"
            )
        return usual
    if len(fitting) > 1:
        both = " and ".join(_DELIMITERS[one] for one in fitting)
        raise InputError(
            f"{path} has {both} between the names in its first line; separate columns by one of them"
        )
    return (fitting or there or [usual])[0]


def _knows(header: str, delimiter: str) -> bool:
    try:
        names = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:  # a carriage return within the line
        return False
    return any(name.strip().lower() in columns.KNOWN for name in names)


def _quotes_tabs(path: Path, content: str) -> bool:
    """Whether quotes of tab-separated columns are marks, as pandas writes them, or part of the texts.

    pandas quotes what holds a quote, a tab or a line end, and doubles quotes. In plain sets, such as
    SST-2, quotes stand anywhere. Where a file could be either, they are part of the texts.
    """
    fields = _quoted_fields(content)
    if not fields:
        return False
    header = content.partition("\n")[0]
    if '"' in header:  # all are quoted, names too
        return True
    if not _are_whole(content):
        return False
    tabs, lines = header.count("\t"), content.split("\n")
    if any(line.count("\t") != tabs for line in lines if line.strip("\r")):
        return True  # without quotes as marks rows would be of unequal length
    if all(('""' in field or "\r" in field) and "\n" not in field for field in fields):
        return True
    note(
        f"{path} has fields between quotes, which are read as part of the texts; if they only mark "
        "where a field begins and ends, write the file as .csv or .jsonl"
    )
    return False


def _quoted_fields(content: str) -> list[str]:
    """What stands in fields between quotes, none of it where a quote stands elsewhere."""
    fields = []
    at = content.find('"')
    while at >= 0:
        field = _QUOTED.match(content, at)
        if field is None:
            return []
        fields.append(field[1])
        at = content.find('"', field.end())
    return fields


def _are_whole(content: str) -> bool:
    """Whether all rows have as many columns as the first, quotes being marks."""
    reader = csv.reader(io.StringIO(content, newline=""), delimiter="\t", strict=True)
    try:
        return len({len(row) for row in reader if row}) == 1
    except csv.Error:
        return False
