"""Draws sections as one HTML page that needs nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Iterable

from tfedge.show.plots import escape
from tfedge.show.table import PAGE, Section, Table

_STYLE = """
:root{--paper:#fff;--ink:#1d232b;--soft:#5b6673;--rule:#d9dee4;--series:#2a6fb0;--worst:#b3261e}
@media(prefers-color-scheme:dark){:root{--paper:#15191e;--ink:#e4e8ec;--soft:#9aa5b1;
--rule:#343c45;--series:#6aaee6;--worst:#ff8a80}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:76rem;background:var(--paper);color:var(--ink);
font:16px/1.45 system-ui,sans-serif}
h1{font-size:1.3rem;overflow-wrap:anywhere;margin:.2rem 0}
h2{font-size:1.05rem;margin:2rem 0 .4rem;border-bottom:1px solid var(--rule)}
p,li{overflow-wrap:anywhere;margin:.3rem 0;max-width:48rem}
.soft{color:var(--soft);font-size:.875rem}
.scroll{overflow-x:auto}
svg{display:block;width:100%;min-width:34rem;max-width:60rem;height:auto}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .7rem .2rem 0;text-align:left;vertical-align:top;white-space:nowrap}
th{color:var(--soft);font-weight:600;border-bottom:1px solid var(--rule)}
td:not(.n){white-space:normal;overflow-wrap:anywhere;min-width:10rem}
td.n,th.n{text-align:right}
tr.worst td{color:var(--worst);font-weight:600}
.label{fill:var(--soft);font-size:13px}
.number{fill:var(--ink);font-size:14px;font-weight:600}
.mark{fill:var(--worst);font-size:14px;font-weight:700}
.grid{stroke:var(--rule)}.zero{stroke:var(--soft)}
.line{fill:none;stroke:var(--series);stroke-opacity:.45}
.beaten{fill:var(--paper);stroke:var(--soft);stroke-width:1.5}
.dot,.bar{fill:var(--series)}.worst{fill:var(--worst)}
.range{stroke:var(--series);stroke-width:2}
"""


def page(title: str, sections: Iterable[Section], lead: Iterable[str] = ()) -> str:
    """The whole page. Everything that comes from files is escaped.

    Args:
        lead: what stands above the first section, a paragraph each.
    """
    name = escape(title)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body><h1>{name}</h1>"
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
