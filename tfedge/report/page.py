"""The report as one HTML page that needs nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Iterable

from tfedge.inspect.page import document, html_table, paragraphs, section
from tfedge.report.sections import Section, Table


def page(title: str, sections: Iterable[Section]) -> str:
    """The whole page. Everything that comes from results is escaped."""
    return document(title, [_section(item) for item in sections])


def _section(item: Section) -> str:
    return section(item.title, item.plot, paragraphs(item.notes), *map(_table, item.tables))


def _table(table: Table) -> str:
    return html_table(table.columns, table.rows, table.numeric, table.marked)
