"""Draws sections as one HTML page that needs nothing from anywhere else, and as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfedge.show.numbers import visible
from tfedge.show.plots import escape
from tfedge.show.table import PAGE, Section, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")


def page(title: str, sections: Iterable[Section], lead: Iterable[str] = ()) -> str:
    """A page of HTML, `lead` above its first section. All that comes from files is escaped."""
    name = escape(title)
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name}</title><style>\n{style}</style></head><body><h1>{name}</h1>"
        f"{_paragraphs(lead)}{''.join(map(_section, sections))}</body></html>\n"
    )


def _section(item: Section) -> str:
    parts = (item.plot, _paragraphs(item.notes, item.is_fine), *map(_table, item.tables))
    return f"<section><h2>{escape(item.title)}</h2>{''.join(parts)}</section>"


def _paragraphs(lines: Iterable[str], is_fine: bool = False) -> str:
    kind = ' class="soft"' if is_fine else ""
    return "".join(f"<p{kind}>{escape(line.strip())}</p>" for line in lines)


def _table(given: Table) -> str:
    table = given.form(PAGE)
    kinds = [' class="n"' if column.is_number else "" for column in table.columns]
    names = [escape(column.name) for column in table.columns]
    head = "".join(f"<th{kind}>{name}</th>" for kind, name in zip(kinds, names, strict=True))
    body = []
    for index, row in enumerate(table.rows):
        cells = (f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        mark = ' class="worst"' if index in table.marked else ""
        body.append(f"<tr{mark}>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def markdown(title: str, sections: Iterable[Section]) -> str:
    """The same in Markdown, without plots. All that comes from files is escaped, of HTML too."""
    return "\n".join(
        ["# " + _plain(title), "", *(line for item in sections for line in _markdown_section(item))]
    )


def _markdown_section(item: Section) -> list[str]:
    notes = [line for note in item.notes for line in (_plain(note), "")]
    tables = [line for table in item.tables for line in (*_markdown_table(table.form(PAGE)), "")]
    return ["## " + _plain(item.title), "", *notes, *tables]


def _markdown_table(table: Table) -> list[str]:
    names = [column.name for column in table.columns]
    rule = ["---:" if column.is_number else "---" for column in table.columns]
    rows = [[_plain(cell) for cell in row] for row in (names, *table.rows)]
    return [_row(rows[0]), _row(rule), *map(_row, rows[1:])]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text that Markdown and the HTML in it show as it is."""
    return _SPECIAL.sub(r"\\\1", html.escape(visible(text), quote=False))
