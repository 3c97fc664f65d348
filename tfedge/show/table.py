"""What a table says, before it is drawn as text, HTML or Markdown: each column is written once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")
TERMINAL, PAGE = "terminal", "page"


@dataclasses.dataclass(frozen=True)
class Column(Generic[Row]):
    """A column.

    Attributes:
        cell: what a row has there; the drawers escape it.
        is_number: whether it stands on the right.
        only: the form that has it, `TERMINAL` or `PAGE` (HTML and Markdown); None for all.
    """

    name: str
    cell: Callable[[Row], str]
    is_number: bool = False
    only: str | None = None


def number(name: str, cell: Callable[[Row], str], only: str | None = None) -> Column[Row]:
    """A column that stands on the right."""
    return Column(name, cell, True, only)


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells, made by `table`.

    Attributes:
        title: drawn above it on a terminal; a page has its own headings.
        marked: the rows that stand out on a page.
        rows: a cell for each of the columns.
    """

    title: str
    columns: Sequence[Column[Any]]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()

    def form(self, form: str) -> Table:
        """The table with the columns of one form only."""
        kept = [i for i, column in enumerate(self.columns) if column.only in (None, form)]
        rows = [[row[i] for i in kept] for row in self.rows]
        return dataclasses.replace(self, columns=[self.columns[i] for i in kept], rows=rows)


def table(
    columns: Sequence[Column[Row]],
    rows: Iterable[Row],
    title: str = "",
    marked: Callable[[Row], bool] = lambda row: False,
) -> Table:
    """The table of rows."""
    found = list(rows)
    cells = [[column.cell(row) for column in columns] for row in found]
    stand_out = frozenset(index for index, row in enumerate(found) if marked(row))
    return Table(title, columns, cells, stand_out)


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page: a heading, a plot (SVG, or empty), notes and tables.

    Attributes:
        is_fine: whether the notes are small print.
    """

    title: str
    plot: str = ""
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    is_fine: bool = False
