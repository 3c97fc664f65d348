"""The report as tables for a terminal."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tfedge.inspect.graph import EDGETPU_OPERATOR
from tfedge.inspect.numbers import amount, decibels, interval, milliseconds, percent, size, visible

# Of a file or a pipe, where no line is too long.
_WIDTH = 200
_WORST_SHOWN = 10
_MOST_OPERATORS = 2000  # nobody reads on, and laying out a table takes a second for as many

Report = dict[str, Any]


def render(report: Report) -> str:
    """What `tfedge inspect` prints: the operators, then what is to be known of them together."""
    parts = (_operators(report), _summary(report), *_noise(report), *_timing(report))
    return drawn((*parts, Text(_heading(report))))


def drawn(parts: Iterable[RenderableType]) -> str:
    """What is printed of them, as wide as the terminal; in a file or a pipe as wide as needed."""
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((100, 24)).columns if is_terminal else _WIDTH
    console = Console(
        file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False, no_color=True
    )
    for part in parts:
        console.print(part)
    output = console.file
    assert isinstance(output, io.StringIO)
    return "\n".join(line.rstrip() for line in output.getvalue().rstrip().split("\n"))


def text_table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> Table:
    """Columns are a name and `left` or `right`; cells are shown as they are, never as markup."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, side in columns:
        justify: Any = side
        table.add_column(name, justify=justify, no_wrap=side == "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def _operators(report: Report) -> RenderableType:
    snr = {row["operator"]: row for row in (report["noise"] or {"layers": []})["layers"]}
    columns = [("#", "right"), ("operator", "left"), ("v", "right"), ("output", "left")]
    columns += [("layer", "left"), ("range", "right"), ("cost", "right"), ("share", "right")]
    columns += [("SNR dB", "right")] if report["noise"] else []
    rows = []
    for row in report["operators"][:_MOST_OPERATORS]:
        cells = [str(row["index"]), row["operator"], str(row["version"]), shape(row), row["layer"]]
        cells += [
            interval(row["range"]),
            amount(row["elements"] if row["macs"] is None else row["macs"]),
        ]
        cells += [percent(row["share"])]
        if report["noise"]:
            found = snr.get(row["index"])
            cells.append(decibels(found) if found else "")
        rows.append(cells)
    more = len(report["operators"]) - _MOST_OPERATORS
    note = [f"and {more} more, which --json and --html have\n"] if more > 0 else []
    return Group("Operators", text_table(columns, rows), *note)


def shape(row: Report) -> str:
    """The dtype and the shape of an operator's first output."""
    sizes = row["outputs"][0]["shape"] if row["outputs"] else []
    return f"{row['dtype']} {'x'.join(map(str, sizes))}"


def _summary(report: Report) -> RenderableType:
    columns = [("operator", "left"), ("dtype", "left"), ("v", "right"), ("count", "right")]
    columns += [("cost", "right"), ("share", "right"), ("bytes", "right")]
    rows = [
        [
            *(row["operator"], row["dtype"], str(row["version"]), str(row["count"])),
            *(amount(row["cost"]), percent(row["share"]), size(row["bytes"])),
        ]
        for row in report["summary"]
    ]
    return Group("By type, dtype and version", text_table(columns, rows))


def _noise(report: Report) -> list[RenderableType]:
    noise = report["noise"]
    if noise is None:
        return []
    measured = [row for row in noise["layers"] if row["snr_db"] is not None]
    rows = [
        ["*" if row["layer"] in noise["worst"] else "", row["layer"], decibels(row), cosine(row)]
        for row in sorted(measured, key=lambda row: row["snr_db"])[:_WORST_SHOWN]
    ]
    columns = [("", "left"), ("layer", "left"), ("SNR dB", "right"), ("cosine", "right")]
    title = (
        f"Furthest from float, of {len(noise['layers'])} layers, {len(measured)} of which differ"
    )
    return [title, text_table(columns, rows), Text(visible(noise_note(noise)))]


PART_COLUMNS = ("part", "operators", "weights", "time", "share", "SNR dB at its end")


def _timing(report: Report) -> list[RenderableType]:
    if report["timing"] is None:
        return []
    columns = [(name, "right" if index else "left") for index, name in enumerate(PART_COLUMNS)]
    return [
        "Time by part",
        text_table(columns, part_rows(report)),
        Text(visible(timing_note(report["timing"]))),
    ]


def part_rows(report: Report) -> list[list[str]]:
    """What each part of the network takes and loses, as cells of `PART_COLUMNS`."""
    timing = report["timing"]
    layers = {row["operator"]: row for row in (report["noise"] or {"layers": []})["layers"]}
    rows, end = [], 0
    for part in timing["parts"]:
        begin, end = end, end + part["operators"]
        last = next(
            (layers[index] for index in reversed(range(begin, end)) if index in layers), None
        )
        rows.append(
            [
                *(part["name"], str(part["operators"]), size(part["weight_bytes"])),
                milliseconds(part["median_s"]),
                percent(part["median_s"] / timing["total_s"]),
                decibels(last) if last else "",
            ]
        )
    return rows


def timing_note(timing: Report) -> str:
    """How the times were measured."""
    return (
        f"{milliseconds(timing['total_s'])} in all, in {timing['runtime']} with its kernels, threads: "
        f"{timing['threads']}; medians of {timing['rounds']} rounds on {timing['data']}: what a run "
        "takes longer with the part than without. Below 0: less than what other programs disturb"
    )


def cosine(row: Report) -> str:
    return "" if row["cosine"] is None else f"{row['cosine']:.4f}"


def noise_note(noise: Report) -> str:
    """How the error was measured."""
    return (
        f"against {noise['against']}: {noise['rows']} rows of {noise['data']} without padding, in "
        f"{noise['runtime']} without its default delegate (XNNPACK); {len(noise['unmatched'])} layers "
        "have no counterpart in float"
    )


def _heading(report: Report) -> str:
    lines = [f"{report['file']}  {size(report['size_bytes'])}", f"  {bundle_line(report)}"]
    for row in report["signatures"]:
        mark = "*" if row["key"] == report["signature"] else " "
        inputs = ", ".join(f"{name} {_ends(end)}" for name, end in row["inputs"].items())
        outputs = ", ".join(f"{name} {_ends(end)}" for name, end in row["outputs"].items())
        lines.append(
            f" {mark}{row['key']}: {inputs} -> {outputs}; {row['operators']} operators, "
            f"{amount(row['macs'])} multiply-accumulates"
        )
    weights = ", ".join(f"{kind} {size(count)}" for kind, count in report["constant_bytes"].items())
    lines.append(f"  weights: {weights or 'none'}")
    lines += [f"  {line}" for line in (*edgetpu_lines(report), *island_lines(report))]
    lines.append(f"  {report['cost_model']}")
    return "\n".join(visible(line) for line in lines)


def _ends(tensor: Report) -> str:
    return f"{tensor['dtype']}{tensor['shape']}"


def bundle_line(report: Report) -> str:
    """What the file says it is."""
    bundle = report["bundle"]
    if bundle is None:
        return f"no tfedge bundle: {report['bundle_note']}"
    labels = f" ({', '.join(bundle['labels'])})" if bundle["labels"] else ""
    return (
        f"{bundle['name']}: {bundle['task']}{labels}, {bundle['quantization']}, up to "
        f"{bundle['max_length']} tokens, verified on {', '.join(bundle['runtimes']) or 'no runtime'}"
    )


def edgetpu_lines(report: Report) -> list[str]:
    """Of a file for the Edge TPU, what of it is compiled."""
    compiled = sum(row["operator"] == EDGETPU_OPERATOR for row in report["operators"])
    if not compiled:
        return []
    left = len(report["operators"]) - compiled
    return [
        f"compiled for the Edge TPU: {compiled} edgetpu-custom-op, {left} operators left on the CPU"
    ]


def island_lines(report: Report) -> list[str]:
    """The float islands, one a line."""
    islands, total = report["islands"], report["total"]["operators"]
    outside = report["conversions_outside"]
    if not islands:
        return [
            f"float islands: none; no operator of {total} computes in float ({outside} conversions)"
        ]
    computing = sum(len(island["operators"]) for island in islands)
    lines = [f"float islands: {len(islands)}, {computing} of {total} operators compute in float"]
    names = [f"{row['operator']} #{row['index']}" for row in report["operators"]]
    for island in islands:
        inside = some([names[index] for index in island["operators"]])
        entries = some([names[index] for index in island["entries"]]) or "the inputs"
        exits = some([names[index] for index in island["exits"]]) or "the outputs"
        cost = "no conversion"
        if island["dequantize"] or island["quantize"]:
            cost = (
                f"{island['dequantize']} DEQUANTIZE and {island['quantize']} QUANTIZE convert "
                f"{amount(island['converted_elements'])} elements a run"
            )
        lines.append(f"  {inside}; between {entries} and {exits}; {cost}")
    return lines


def some(items: Sequence[str], limit: int = 4) -> str:
    """The first of them, and how many more there are."""
    more = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {more} more" if more > 0 else "")
