"""Reads labelled or plain texts from TSV, CSV, JSONL and TXT files, gzipped or not."""

from __future__ import annotations

import dataclasses
import difflib
import gzip
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from types import NoneType
from typing import Any, Self

from tfedge import files
from tfedge.data import conll, squad
from tfedge.data.rows import Table
from tfedge.data.tables import LARGEST_FILE_BYTES, lines_of, table_rows
from tfedge.data.values import check_values
from tfedge.errors import InputError
from tfedge.tasks import columns
from tfedge.tasks.columns import ColumnNames

SUFFIXES = (".tsv", ".csv", ".jsonl", ".txt", conll.SUFFIX, squad.SUFFIX)
TEXT_COLUMNS, IMAGE_COLUMNS = columns.TEXT, columns.IMAGE
AS_FOUND = ColumnNames()
_CHUNK = 1 << 20
# How many times its size a gzipped file of texts may hold, natural language having 3; and what it may
# hold anyway.
_MOST_PACKED = 50
_PLAUSIBLE_BYTES = 16 << 20


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts and, where the file has them, the label of each as a word."""

    texts: list[Any]  # strings, or tuples of two where a row has a pair
    labels: list[str] | None
    source: str
    columns: tuple[str, ...] = TEXT_COLUMNS[:1]  # where the texts are from, two of pairs
    left_out: tuple[str, ...] = ()  # columns that are not read
    second: tuple[str, ...] = ()  # of these such as may hold further texts of each row

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def are_pairs(self) -> bool:
        """Whether each row has two texts."""
        return len(self.columns) > 1

    def paired(self) -> Texts:
        """Each text as the second one after its successor, for where a model reads two."""
        pairs = list(zip([*self.texts[1:], *self.texts[:1]], self.texts, strict=True))
        return dataclasses.replace(self, texts=pairs, columns=columns.PAIRS[0], labels=None)

    def apart(self) -> Texts:
        """Both texts of each pair by themselves, without labels."""
        texts = list(itertools.chain(*self.texts))
        return dataclasses.replace(self, texts=texts, columns=self.columns[:1], labels=None)

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
        """The indices of `count` of them, see `tfedge.tasks.columns.drawn`."""
        return columns.drawn(len(self), self.labels, count)

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
    line names the columns: `text` (or `sentence`), or those of a pair (see `columns.PAIRS`) and, if
    there are labels, `label`. JSONL has an object a line with the same names; TXT a text a line. Case
    and blanks around names do not count. Raises InputError where the file is missing, empty, not
    UTF-8, or has a row without text or label.
    """
    return texts_of(read_rows(path), str(path))


def existing(path: str | Path) -> Path:
    """The path of a file; raises InputError where there is none."""
    path = Path(path)
    if not path.exists():
        beside = [file.name for file in path.parent.glob("*") if file.is_file()]
        near = difflib.get_close_matches(path.name, beside, n=1)
        meant = f", did you mean {path.with_name(near[0])}?" if near else ""
        raise InputError(f"{path} does not exist{meant}")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file of texts ({', '.join(SUFFIXES)})")
    _suffix(path)
    return path


def texts_of(
    rows: Table,
    source: str,
    named: ColumnNames = AS_FOUND,
    truth: Sequence[str] = columns.LABEL,
    may_lack_labels: bool = False,
    wanted: Sequence[str] = TEXT_COLUMNS,
) -> Texts:
    """The texts and labels in rows of a table; raises InputError as `read_texts`.

    Args:
        named: columns in place of those of `wanted` and `truth`, or of pairs.
        truth: the names that the column of labels may have.
        may_lack_labels: whether a row may have none, or several.
        wanted: the names that the column of texts may have; messages recommend the first.
    """
    names = rows.names
    found = named.texts(names, wanted, source)
    label = named.label(names, truth, source)
    texts = [_values(rows.column(name), name, source) for name in found]
    labels = None
    if label is not None:
        if not may_lack_labels:
            _refuse_several(rows.column(label), label, source)
        labels = _values(map(_joined, rows.column(label)), label, source, may_lack_labels)
    left_out = tuple(name for name in names if name not in (*found, label))
    second = named.further(found, left_out) if wanted is TEXT_COLUMNS else ()
    items = texts[0] if len(texts) == 1 else list(zip(*texts, strict=True))
    return Texts(items, labels, source, found, left_out, second)


def read_rows(path: str | Path, column: str = TEXT_COLUMNS[0]) -> Table:
    """The rows by column: strings, of JSONL whatever values it has; a TXT has one `column`.

    Raises InputError as `read_texts`.
    """
    path = existing(path)
    rows = Table(row for _, row in _rows(path, column))
    if not rows:
        raise InputError(f"{path} has no rows; give a file with at least one {column}")
    return rows


def _rows(path: Path, column: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows, and the line that each of JSONL is in; `column` is that of a plain TXT."""
    suffix, content = _suffix(path), _decode(path)
    if suffix == conll.SUFFIX:
        yield from enumerate(conll.conll_rows(path, content), start=1)
    elif suffix == squad.SUFFIX:
        yield from enumerate(squad.squad_rows(path, content), start=1)
    elif suffix == ".jsonl":
        yield from _json_rows(path, content)
    elif suffix == ".txt":
        # Not splitlines(), which also splits at characters that a text may contain.
        lines = enumerate(lines_of(content), start=1)
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
    files.check_regular(path)
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        packed = path.stat().st_size
        # Counted first, so that nothing is kept of what is refused.
        size = _unpacked_bytes(path) if opener is gzip.open else packed
        if size > LARGEST_FILE_BYTES:
            raise InputError(f"{path} is larger than 2 GiB of text; split it")
        if size > max(_PLAUSIBLE_BYTES, packed * _MOST_PACKED):
            raise InputError(
                f"{path} unpacks to more than {_MOST_PACKED} times its size, which no texts do; unpack "
                "it, and give the file without .gz, if it is meant to"
            )
        with opener(path, "rb") as file:
            content = file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}, is not UTF-8; convert the file first") from error


def _unpacked_bytes(path: Path) -> int:
    """How many bytes a gzipped file holds, counted no further than are allowed."""
    size = 0
    with gzip.open(path, "rb") as file:
        while size <= LARGEST_FILE_BYTES and (chunk := file.read(_CHUNK)):
            size += len(chunk)
    return size


def _json_rows(path: Path, content: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines_of(content), start=1):
        if not line.strip():
            continue
        check_values(line, f"{path}, line {number},")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}, is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: an object with 'text' is expected")
        yield number, dict(zip(columns.named(row, str(path)), row.values(), strict=True))


def _values(
    cells: Iterable[Any], column: str, source: str, may_be_empty: bool = False
) -> list[str]:
    """A column of strings, as a table holds them."""
    values = []
    for number, value in enumerate(cells, 1):
        if column == columns.WORDS and isinstance(value, list):
            value = " ".join(map(str, value))
        if not isinstance(value, (str, int, float, NoneType)):
            kind = type(value).__name__
            raise InputError(f"{source}, row {number}: {column!r} is a {kind}, not a string")
        text = "" if value is None else str(value).strip()
        if not text and not may_be_empty:
            raise InputError(f"{source}, row {number}, has an empty {column!r}")
        try:
            text.encode()
        except UnicodeEncodeError:  # "\ud800", half of a character beyond U+FFFF
            raise InputError(f"{source}, row {number}: {column!r} is not Unicode") from None
        values.append(text)
    return values


def _refuse_several(cells: Iterable[Any], column: str, source: str) -> None:
    for number, value in enumerate(cells, 1):
        if isinstance(value, list) and len(value) != 1:
            raise InputError(
                f"{source}, row {number}: {column!r} has {len(value)} labels where one is wanted; keep "
                "one, or name another column with --label-column"
            )


def _joined(value: Any) -> Any:
    """Several labels as one cell of a table."""
    return columns.SEPARATOR.join(map(str, value)) if isinstance(value, list) else value
