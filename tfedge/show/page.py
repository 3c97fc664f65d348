"""Draws sections as one HTML page that needs nothing from anywhere else, and as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfedge.show.draw import svg
from tfedge.show.numbers import visible
from tfedge.show.plots import NARROW, WIDE, Chart, escape
from tfedge.show.table import PAGE, Column, Section, Table, number, table
from tfedge.show.verdict import Figure, Verdict, amount_of, shown

_MOST_OPEN = 30  # rows; a longer table is opened by who wants it
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")


def page(
    title: str,
    sections: Iterable[Section],
    lead: Iterable[str] = (),
    verdicts: Sequence[Verdict] = (),
) -> str:
    """A page of HTML: the verdicts, the first one's figures, `lead`, the sections. All that comes from
    files is escaped. Raises as `svg`."""
    name = escape(title)
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{name}</title><style>\n{style}</style></head><body><h1>{name}</h1>"
        f"{_verdicts(verdicts)}{_paragraphs(lead)}{''.join(map(_section, sections))}</body></html>\n"
    )


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    sentences = "".join(f'<p class="verdict">{escape(one.sentence)}</p>' for one in verdicts)
    return f'{sentences}<dl class="tiles">{"".join(map(_tile, verdicts[0].figures))}</dl>'


def _tile(figure: Figure) -> str:
    """A figure; what was not measured says so, and how to."""
    kind = ' class="absent"' if figure.value is None else ""
    against = ""
    if figure.float_ is not None:
        against = f"<dd>float {escape(amount_of(figure, figure.float_))}</dd>"
    value = f"<dd{kind}>{escape(shown(figure))}</dd>"
    return f"<div><dt>{escape(figure.name)}</dt>{value}{against}<dd>{escape(figure.how)}</dd></div>"


def _section(item: Section) -> str:
    parts = (_figure(item.plot), _paragraphs(item.notes, item.is_fine), *map(_table, item.tables))
    return f"<section><h2>{escape(item.title)}</h2>{''.join(parts)}</section>"


def _figure(chart: Chart | None) -> str:
    """A chart in both its widths, of which the page shows one."""
    if chart is None:
        return ""
    return "".join(
        f'<figure class="{kind}">{svg(chart, width)}</figure>'
        for kind, width in (("wide", WIDE), ("narrow", NARROW))
    )


def _paragraphs(lines: Iterable[str], is_fine: bool = False) -> str:
    kind = ' class="soft"' if is_fine else ""
    return "".join(f"<p{kind}>{escape(line.strip())}</p>" for line in lines)


def _table(given: Table) -> str:
    shown_here = given.form(PAGE)
    kinds = [' class="n"' if column.is_number else "" for column in shown_here.columns]
    names = [escape(column.name) for column in shown_here.columns]
    head = "".join(f"<th{kind}>{name}</th>" for kind, name in zip(kinds, names, strict=True))
    body = []
    for index, row in enumerate(shown_here.rows):
        # On a phone each row is a card, whose cells say what they are.
        cells = (
            f'<td{kind} data-name="{name}">{escape(cell)}</td>'
            for kind, name, cell in zip(kinds, names, row, strict=True)
        )
        mark = ' class="worst"' if index in shown_here.marked else ""
        body.append(f"<tr{mark}>{''.join(cells)}</tr>")
    drawn = (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
    if len(body) <= _MOST_OPEN:
        return drawn
    return f"<details><summary>{len(body)} rows</summary>{drawn}</details>"


def markdown(title: str, sections: Iterable[Section], verdicts: Sequence[Verdict] = ()) -> str:
    """The same in Markdown, without plots. All that comes from files is escaped, of HTML too."""
    said = [line for one in verdicts for line in (f"**{_plain(one.sentence)}**", "")]
    figures = [_verdict_table(verdicts[0])] if verdicts else []
    told = [line for table in figures for line in (*_markdown_table(table), "")]
    parts = (line for item in sections for line in _markdown_section(item))
    return "\n".join(["# " + _plain(title), "", *said, *told, *parts])


def _verdict_table(found: Verdict) -> Table:
    columns: list[Column[Figure]] = [
        Column("", lambda figure: figure.name),
        number("model", shown),
        number(
            "float",
            lambda figure: "" if figure.float_ is None else amount_of(figure, figure.float_),
        ),
        Column("measured", lambda figure: figure.how),
    ]
    return table(columns, found.figures)


def _markdown_section(item: Section) -> list[str]:
    notes = [line for note in item.notes for line in (_plain(note), "")]
    tables = [line for one in item.tables for line in (*_markdown_table(one.form(PAGE)), "")]
    return ["## " + _plain(item.title), "", *notes, *tables]


def _markdown_table(given: Table) -> list[str]:
    names = [column.name for column in given.columns]
    rule = ["---:" if column.is_number else "---" for column in given.columns]
    rows = [[_plain(cell) for cell in row] for row in (names, *given.rows)]
    return [_row(rows[0]), _row(rule), *map(_row, rows[1:])]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text that Markdown and the HTML in it show as it is."""
    return _SPECIAL.sub(r"\\\1", html.escape(visible(text), quote=False))
