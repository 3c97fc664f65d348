"""The rows of a table, held by their columns: as dictionaries, short ones take 30 times the file."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, overload

Row = dict[str, Any]


class _Part(NamedTuple):
    """Rows of the same columns that follow each other."""

    first: int  # the number of the first one
    names: tuple[str, ...]
    cells: list[Any]  # row by row


class Table(Sequence[Row]):
    """Rows by the names of columns, each made when it is asked for; read what `rows` gives at once."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._parts: list[_Part] = []
        self._count = 0
        for row in rows:
            if (names := tuple(row)) != (self._parts and self._parts[-1].names):
                self._parts.append(_Part(self._count, names, []))
            self._parts[-1].cells.extend(row.values())
            self._count += 1

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        part = self._parts[bisect.bisect_right(self._parts, number, key=lambda it: it.first) - 1]
        start = (number - part.first) * len(part.names)
        return dict(zip(part.names, part.cells[start : start + len(part.names)], strict=True))

    def __iter__(self) -> Iterator[Row]:
        for part, count in self._counted():
            width = len(part.names)
            for start in range(0, count * width, width) if width else range(count):
                yield dict(zip(part.names, part.cells[start : start + width], strict=True))

    @property
    def names(self) -> list[str]:
        """Those of all columns, in the order in which rows have them."""
        return list(dict.fromkeys(name for part in self._parts for name in part.names))

    def column(self, name: str) -> Iterator[Any]:
        """What each row has in a column, None where it has none."""
        for part, count in self._counted():
            if name in part.names:
                place = part.names.index(name)
                yield from itertools.islice(part.cells, place, None, len(part.names))
            else:
                yield from itertools.repeat(None, count)

    def _counted(self) -> Iterator[tuple[_Part, int]]:
        """Each part, and how many rows it has."""
        for index, part in enumerate(self._parts, 1):
            end = self._parts[index].first if index < len(self._parts) else self._count
            yield part, end - part.first
