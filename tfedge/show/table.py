"""What a table says, before it is drawn as text, HTML or Markdown: each column is written once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from tfedge.errors import InputError
from tfedge.show.plots import Chart

Row = TypeVar("Row")
_MOST_CELLS = 500_000
TERMINAL, PAGE = "terminal", "page"


@dataclasses.dataclass(frozen=True)
class Column(Generic[Row]):
    """A column."""

    name: str
    cell: Callable[[Row], str]  # what a row has there; the drawers escape it
    is_number: bool = False  # stands on the right
    only: str | None = None  # the form that has it, `TERMINAL` or `PAGE` (HTML and Markdown)


def number(name: str, cell: Callable[[Row], str], only: str | None = None) -> Column[Row]:
    """A column that stands on the right."""
    return Column(name, cell, True, only)


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells, made by `table`."""

    title: str  # above it on a terminal; a page has its own headings
    columns: Sequence[Column[Any]]
    rows: Sequence[Sequence[str]]  # a cell for each of the columns
    marked: frozenset[int] = frozenset()  # the rows that stand out on a page

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
    """The table of rows; raises InputError where a page cannot hold it."""
    found = list(rows)
    if len(found) * len(columns) > _MOST_CELLS:
        raise InputError(
            f"{title or 'a table'}: {len(found)} rows of {len(columns)} columns are too many for a "
            f"page; give results with at most {_MOST_CELLS:,} cells in all"
        )
    cells = [[column.cell(row) for column in columns] for row in found]
    return Table(title, columns, cells, frozenset(i for i, row in enumerate(found) if marked(row)))


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page."""

    title: str
    plot: Chart | None = None
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    is_fine: bool = False  # whether the notes are small print
