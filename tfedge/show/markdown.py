"""Draws sections as Markdown, without their plots."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from tfedge.show.numbers import visible
from tfedge.show.table import PAGE, Section, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")


def markdown(title: str, sections: Iterable[Section]) -> str:
    """The whole text. Everything that comes from results is escaped, of HTML too."""
    return "\n".join(
        ["# " + _plain(title), "", *(line for item in sections for line in _lines(item))]
    )


def _lines(item: Section) -> list[str]:
    notes = [line for note in item.notes for line in (_plain(note), "")]
    tables = [line for table in item.tables for line in (*_table(table.form(PAGE)), "")]
    return ["## " + _plain(item.title), "", *notes, *tables]


def _table(table: Table) -> list[str]:
    names = [column.name for column in table.columns]
    rule = ["---:" if column.is_number else "---" for column in table.columns]
    rows = [[_plain(cell) for cell in row] for row in (names, *table.rows)]
    return [_row(rows[0]), _row(rule), *map(_row, rows[1:])]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text that Markdown and the HTML in it show as it is."""
    return _SPECIAL.sub(r"\\\1", html.escape(visible(text), quote=False))
