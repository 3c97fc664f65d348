"""The prediction as one HTML page that needs nothing from anywhere else."""

from __future__ import annotations

from typing import Any

from tfedge.edgetpu.check import CPU
from tfedge.edgetpu.table import change_rows, shape, verdict_lines
from tfedge.inspect.page import document, html_table, paragraphs, section

Report = dict[str, Any]
_NONE: frozenset[int] = frozenset()


def page(report: Report) -> str:
    """The whole page. Everything that comes from the file is escaped."""
    sections = [
        paragraphs(verdict_lines(report)),
        section("As the compiler's log counts them", _summary(report)),
        section("What to change", _changes(report)),
        section("Operators", _operators(report)),
    ]
    return document(f"Edge TPU: {report['file'].rpartition('/')[2]}", sections)


def _summary(report: Report) -> str:
    rows = [
        [row["operator"], str(row["count"]), row["class"], row["status"]]
        for row in report["summary"]
    ]
    return html_table(["operator", "count", "class", "status"], rows, "-n--", _NONE)


def _changes(report: Report) -> str:
    rows = change_rows(report)
    if not rows:
        return paragraphs(["Nothing."])
    return html_table(["left on the CPU", "rule", "what to change"], rows, "---", _NONE)


def _operators(report: Report) -> str:
    rows = [
        [
            *(str(row["index"]), row["operator"], str(row["version"]), shape(row), row["tensor"]),
            *(row["class"], row["status"]),
            f"{row['rule']} [{row['source']}]" if row["rule"] else "",
        ]
        for row in report["operators"]
    ]
    columns = ["#", "operator", "v", "output", "tensor", "class", "status", "rule"]
    left = frozenset(i for i, row in enumerate(report["operators"]) if row["class"] == CPU)
    return html_table(columns, rows, "n-n-----", left)
