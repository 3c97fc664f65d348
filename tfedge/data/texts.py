"""Reads labelled or plain texts from TSV, CSV, JSONL and TXT files, gzipped or not."""

from __future__ import annotations

import dataclasses
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Self

import numpy as np

from tfedge.data.tables import LARGEST_FILE_BYTES, table_rows
from tfedge.errors import InputError
from tfedge.tasks import columns

SUFFIXES = (".tsv", ".csv", ".jsonl", ".txt")
TEXT_COLUMNS, LABEL_COLUMNS, IMAGE_COLUMNS = columns.TEXT, columns.LABEL, columns.IMAGE


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts and, where the file has them, the label of each as a word."""

    texts: list[str]
    labels: list[str] | None
    source: str
    second: tuple[str, ...] = ()  # columns with further texts of each row, which are not read

    def __len__(self) -> int:
        return len(self.texts)

    def head(self, count: int) -> Self:
        """The first `count` of them."""
        return self.part(range(min(count, len(self))))

    def tail(self, count: int) -> Self:
        """The last `count` of them."""
        return self.part(range(len(self))[-count:])

    def part(self, indices: Sequence[int]) -> Self:
        """Those of the indices, in that order."""
        labels = [self.labels[index] for index in indices] if self.labels else None
        texts = [self.texts[index] for index in indices]
        return dataclasses.replace(self, texts=texts, labels=labels)

    def drawn(self, count: int) -> list[int]:
        """The indices of `count` of them, all where there are no more, that stand for the whole.

        They are drawn and ordered at random, always in the same way; each label has its share, of less
        than one by chance.
        """
        generator = np.random.default_rng(0)
        order = generator.permutation(len(self))
        if self.labels:
            ranks = np.unique([columns.key(label) for label in self.labels], return_inverse=True)[1]
            order = order[np.argsort(ranks[order], kind="stable")]
        count = min(count, len(self))
        places = ((np.arange(count) + generator.random()) * len(self) / max(count, 1)).astype(int)
        found: list[int] = generator.permutation(order[places]).tolist()
        return found

    def label_ids(self, names: Sequence[str]) -> list[int]:
        """See `tfedge.tasks.columns.label_ids`; raises InputError where there are no labels, too."""
        if self.labels is None:
            wanted = list(names) if names else "the label of each text"
            raise InputError(
                f"{self.source} has no labels; it needs a column 'label' with {wanted}"
            )
        return columns.label_ids(self.labels, names, self.source)


def read_texts(path: str | Path) -> Texts:
    """Reads a file of texts.

    CSV is read with quoting, TSV where it is quoted throughout (see `tfedge.data.tables`). The first
    line names the columns: `text` (or `sentence`) and, if there are labels, `label`. JSONL has an
    object a line with the same names; TXT a text a line. Case and blanks around names do not count.
    Raises InputError where the file is missing, empty, not UTF-8, or has a row without text or label.
    """
    path = existing(path)
    return read_columns(path, TEXT_COLUMNS)


def existing(path: str | Path) -> Path:
    """The path of a file; raises InputError where there is none."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file of texts ({', '.join(SUFFIXES)})")
    return path


def read_columns(path: Path, wanted: tuple[str, ...]) -> Texts:
    """A column of a file and, where it has them, its labels; raises InputError as `read_texts`.

    Of the names `wanted`, which the column may have, messages recommend the first; a plain TXT has it.
    """
    rows = [
        {key: _cell(path, number, key, value) for key, value in row.items()}
        for number, row in _rows(path, wanted[0])
    ]
    if not rows:
        raise InputError(f"{path} has no rows; give a file with at least one {wanted[0]}")
    column = columns.find(rows, wanted)
    if column is None:
        raise InputError(
            f"{path} has the columns {sorted(rows[0])}; name the one with the {wanted[0]} "
            f"{wanted[0]!r}"
        )
    label_column = columns.find(rows, LABEL_COLUMNS)
    # Of several labels a text may have none.
    labels = _values(path, rows, label_column, label_column == "labels") if label_column else None
    names = {name for row in rows for name in row}
    second = columns.second(names, column)
    return Texts(_values(path, rows, column), labels, str(path), second)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows by column: strings, of JSONL whatever values it has; raises InputError without any."""
    rows = [row for _, row in _rows(path, TEXT_COLUMNS[0])]
    if not rows:
        raise InputError(f"{path} has no rows")
    return rows


def _rows(path: Path, column: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows, and the line that each of JSONL is in; `column` is that of a plain TXT."""
    suffix, content = _suffix(path), _decode(path)
    if suffix == ".jsonl":
        yield from _json_rows(path, content)
    elif suffix == ".txt":
        # Not splitlines(), which also splits at characters that a text may contain.
        lines = enumerate(content.split("\n"), start=1)
        yield from ((number, {column: line}) for number, line in lines if line.strip())
    else:
        yield from enumerate(table_rows(path, content, suffix), start=1)


def package_texts(name: str = "sentences.tsv") -> Texts:
    """Labelled texts that come with tfedge, for where the user brings none."""
    with resources.as_file(resources.files(__package__) / name) as path:
        return dataclasses.replace(read_texts(path), source=f"tfedge/data/{name}")


def _suffix(path: Path) -> str:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: the name must end in {', '.join(SUFFIXES)} (or these with .gz)")
    return suffix


def _decode(path: Path) -> str:
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise InputError(f"{path} is larger than 2 GiB of text; split it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}, is not UTF-8; convert the file first") from error


def _json_rows(path: Path, content: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}, is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: an object with 'text' is expected")
        yield number, dict(zip(columns.named(row, str(path)), row.values(), strict=True))


def _cell(path: Path, number: int, key: str, value: Any) -> str:
    """A value as a cell of a table would hold it."""
    if value is None:
        return ""
    if key in LABEL_COLUMNS and isinstance(value, list):
        value = columns.SEPARATOR.join(map(str, value))
    is_read = key in (*TEXT_COLUMNS, *IMAGE_COLUMNS, *LABEL_COLUMNS)
    if is_read and not isinstance(value, (str, int, float)):
        raise InputError(
            f"{path}, line {number}: {key!r} is a {type(value).__name__}, not a string"
        )
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # "\ud800", half of a character beyond U+FFFF
        raise InputError(f"{path}, line {number}: {key!r} is not Unicode") from None
    return text


def _values(
    path: Path, rows: list[dict[str, str]], column: str, may_be_empty: bool = False
) -> list[str]:
    values = [row.get(column, "").strip() for row in rows]
    if "" in values and not may_be_empty:
        raise InputError(f"{path}, row {values.index('') + 1}, has an empty {column!r}")
    return values
