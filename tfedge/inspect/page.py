"""The report as one HTML page that needs nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tfedge.inspect.numbers import amount, decibels, interval, percent, size
from tfedge.inspect.plots import cost_plot, escape, range_plot, snr_plot, time_plot
from tfedge.inspect.table import (
    PART_COLUMNS,
    bundle_line,
    cosine,
    edgetpu_lines,
    island_lines,
    noise_note,
    part_rows,
    shape,
    timing_note,
)

Report = dict[str, Any]

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


def page(report: Report) -> str:
    """The whole page. Everything that comes from the file is escaped."""
    sections = [
        _head(report),
        _noise(report),
        *_timing(report),
        section("Cost by type of operator", cost_plot(report["summary"]), _summary(report)),
        section("Float islands", paragraphs(island_lines(report))),
        _ranges(report),
        section(
            "Operators", f'<p class="soft">{escape(report["cost_model"])}</p>', _operators(report)
        ),
    ]
    return document(report["file"].rpartition("/")[2], sections)


def document(title: str, sections: Iterable[str]) -> str:
    """A page of its own, of sections that are HTML already."""
    name = escape(title)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{name}</h1>{''.join(sections)}</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A part of the page; `parts` are HTML already."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def paragraphs(lines: Iterable[str]) -> str:
    """Each line a paragraph, escaped."""
    return "".join(f"<p>{escape(line.strip())}</p>" for line in lines)


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], numeric: str, worst: frozenset[int]
) -> str:
    """A table whose cells are escaped.

    Args:
        numeric: a letter for each column, `n` for numbers and `-` for words.
        worst: the rows to mark.
    """
    kinds = [' class="n"' if letter == "n" else "" for letter in numeric]
    head = "".join(
        f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, columns, strict=True)
    )
    body = []
    for index, row in enumerate(rows):
        cells = (f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        mark = ' class="worst"' if index in worst else ""
        body.append(f"<tr{mark}>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _head(report: Report) -> str:
    weights = ", ".join(f"{kind} {size(count)}" for kind, count in report["constant_bytes"].items())
    total = report["total"]
    lines = [
        bundle_line(report),
        f"{size(report['size_bytes'])}; weights: {weights or 'none'}",
        f"Shown: signature {report['signature']}; {total['operators']} operators, "
        f"{amount(total['macs'])} multiply-accumulates, {size(total['bytes'])} moved a run",
        *edgetpu_lines(report),
        f"SHA-256 {report['sha256']}",
    ]
    rows = [
        [
            row["key"],
            str(row["operators"]),
            amount(row["macs"]),
            _ends(row["inputs"]),
            _ends(row["outputs"]),
        ]
        for row in report["signatures"]
    ]
    columns = ["signature", "operators", "MACs", "inputs", "outputs"]
    return paragraphs(lines) + section(
        "Signatures", html_table(columns, rows, "-nn--", frozenset())
    )


def _ends(tensors: dict[str, Report]) -> str:
    return ", ".join(f"{name} {end['dtype']}{end['shape']}" for name, end in tensors.items())


def _noise(report: Report) -> str:
    noise = report["noise"]
    title = "Signal-to-noise against float, dB"
    if noise is None:
        advice = (
            "Not measured. For a model of tfedge: tfedge convert MODEL --keep-reference, then "
            "tfedge inspect X.tflite --against X_reference.tflite --html FILE; for any other, give "
            "the float .tflite that it was made of."
        )
        return section(title, paragraphs([advice]))
    layers = {row["layer"]: row for row in noise["layers"]}
    rows = [
        [str(rank), name, decibels(layers[name]), cosine(layers[name])]
        for rank, name in enumerate(noise["worst"], start=1)
    ]
    columns = ["", "furthest from float", "SNR dB", "cosine"]
    return section(
        title,
        snr_plot(noise),
        f'<p class="soft">{escape(noise_note(noise))}</p>',
        html_table(columns, rows, "n-nn", frozenset(range(len(rows)))),
    )


def _timing(report: Report) -> list[str]:
    if report["timing"] is None:
        return []
    note = f'<p class="soft">{escape(timing_note(report["timing"]))}</p>'
    table = html_table(PART_COLUMNS, part_rows(report), "-nnnnn", frozenset())
    return [section("Time by part", time_plot(report["timing"]), note, table)]


def _summary(report: Report) -> str:
    rows = [
        [
            *(row["operator"], row["dtype"], str(row["version"]), str(row["count"])),
            *(amount(row["cost"]), percent(row["share"]), size(row["bytes"])),
        ]
        for row in report["summary"]
    ]
    columns = ["operator", "dtype", "version", "count", "cost", "share", "bytes"]
    return html_table(columns, rows, "--nnnnn", frozenset())


def _ranges(report: Report) -> str:
    plot = range_plot(report["operators"])
    return section("Ranges", plot or paragraphs(["No operator puts out a quantised tensor."]))


def _operators(report: Report) -> str:
    noise = report["noise"]
    layers = {row["operator"]: row for row in noise["layers"]} if noise else {}
    rows = []
    for row in report["operators"]:
        found = layers.get(row["index"])
        units = row["elements"] if row["macs"] is None else row["macs"]
        rows.append(
            [
                *(str(row["index"]), row["operator"], str(row["version"]), shape(row)),
                *(row["layer"], interval(row["range"]), amount(units), percent(row["share"])),
                *(
                    size(row["bytes"]),
                    decibels(found) if found else "",
                    cosine(found) if found else "",
                ),
            ]
        )
    columns = ["#", "operator", "v", "output", "layer", "range", "cost", "share", "bytes"]
    columns += ["SNR dB", "cosine"]
    worst = [index for index, row in layers.items() if row["layer"] in noise["worst"]]
    return html_table(columns, rows, "n-n--nnnnnn", frozenset(worst))
