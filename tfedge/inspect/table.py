"""What is drawn of the report: tables, notes, sections and plots, for a terminal and for a page."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from tfedge.inspect import estimate_table
from tfedge.inspect.graph import EDGETPU_OPERATOR
from tfedge.inspect.noise import LayerNoise
from tfedge.inspect.outlier_table import costliest, outlier_notes, outliers_section
from tfedge.inspect.result import End, Entry, Group, Noise, OperatorRow, Report, Times
from tfedge.inspect.timing import PartTime
from tfedge.show import page as html
from tfedge.show import text as terminal
from tfedge.show import verdict as headline
from tfedge.show.numbers import (
    amount,
    interval,
    milliseconds,
    percent,
    size,
    some,
    typed_shape,
)
from tfedge.show.plots import Axes, Chart, Point, bar_chart, point_chart, range_chart
from tfedge.show.table import PAGE, TERMINAL, Column, Section, Table, number, table

_WORST_SHOWN = 10
_NOT_MEASURED = (
    "Not measured. For a model of tfedge: tfedge convert MODEL --keep-reference, then "
    "tfedge inspect X.tflite --against X_reference.tflite --html FILE; for any other, give "
    "the float .tflite that it was made of."
)
_BARS = 8  # more types than that go together into one bar
# Below this a range is as good as 0 on the symmetric logarithmic axis.
_LINEAR = 1e-3


def render(report: Report) -> str:
    """What `tfedge inspect` prints: the verdict, the operators, then what is known of them together."""
    said = [*headline.lines(report.verdict), ""] if report.verdict else []
    parts: list[Table | str] = [*said, operators(report), summary(report)]
    if noise := report.noise:
        parts += [furthest(noise, _WORST_SHOWN), noise_note(noise)]
    if report.outliers:
        parts += [costliest(report.outliers, _WORST_SHOWN), *outlier_notes(report.outliers)]
    if report.timing:
        parts += [time_by_part(report, report.timing), timing_note(report.timing)]
    return terminal.text([*parts, *_heading(report)])


def page(report: Report) -> str:
    """The report as one HTML page, with plots. Everything that comes from the file is escaped."""
    total = report.total
    lead = [
        bundle_line(report),
        f"{size(report.size_bytes)}; {_weights(report)}",
        f"Shown: signature {report.signature}; {total.operators} operators, {amount(total.macs)} "
        f"multiply-accumulates, {size(total.bytes)} moved a run",
        *edgetpu_lines(report),
        *estimate_lines(report),
        f"SHA-256 {report.sha256}",
    ]
    ranges = _range_plot(report.operators)
    sections = [
        Section("Signatures", tables=[_signatures(report)]),
        noise_section(report.noise),
        *([outliers_section(report.outliers)] if report.outliers else []),
        *([times_section(report, report.timing)] if report.timing else []),
        Section("Cost by type of operator", cost_plot(report.summary), [], [summary(report)]),
        Section("Float islands", notes=island_lines(report)),
        Section("Ranges", ranges, [] if ranges else ["No operator puts out a quantised tensor."]),
        Section(
            "Operators",
            None,
            [report.cost_model],
            [operators(report)],
            is_fine=True,
        ),
    ]
    verdicts = [report.verdict] if report.verdict else []
    return html.page(report.file.rpartition("/")[2], sections, lead, verdicts)


def operators(report: Report) -> Table:
    """Every operator, those of the worst layers marked."""
    layers = report.noise_of
    worst = report.noise.worst if report.noise else ()
    columns: list[Column[OperatorRow]] = [
        number("#", lambda row: str(row.index)),
        Column("operator", lambda row: row.operator),
        number("v", lambda row: str(row.version)),
        Column("output", _output),
        Column("layer", lambda row: row.layer),
        number("range", lambda row: interval(row.range)),
        number("cost", lambda row: amount(row.units)),
        number("share", lambda row: percent(row.share)),
        number("bytes", lambda row: size(row.bytes), only=PAGE),
        number(
            "SNR dB", lambda row: decibels(layers.get(row.index)), only=None if layers else PAGE
        ),
        number("cosine", lambda row: _cosine(layers.get(row.index)), only=PAGE),
    ]
    marked = {index for index, layer in layers.items() if layer.layer in worst}
    return table(columns, report.operators, "Operators", lambda row: row.index in marked)


def _output(row: OperatorRow) -> str:
    return typed_shape(row.dtype, row.outputs[0].shape if row.outputs else ())


def summary(report: Report) -> Table:
    """Operators by type, dtype and version."""
    columns: list[Column[Group]] = [
        Column("operator", lambda row: row.operator),
        Column("dtype", lambda row: row.dtype),
        number("v", lambda row: str(row.version)),
        number("count", lambda row: str(row.count)),
        number("cost", lambda row: amount(row.cost)),
        number("share", lambda row: percent(row.share)),
        number("bytes", lambda row: size(row.bytes)),
    ]
    return table(columns, report.summary, "By type, dtype and version")


def furthest(noise: Noise, most: int) -> Table:
    """The layers furthest from float, at most `most` of them."""
    ranked = noise.ranked
    ranks = {row.layer: rank for rank, row in enumerate(ranked, start=1)}
    columns: list[Column[LayerNoise]] = [
        Column("", lambda row: "*" if row.layer in noise.worst else "", only=TERMINAL),
        number("#", lambda row: str(ranks[row.layer]), only=PAGE),
        Column("furthest from float", lambda row: row.layer),
        number("SNR dB", decibels),
        number("cosine", _cosine),
    ]
    title = f"Furthest from float, of {len(noise.layers)} layers, {len(ranked)} of which differ"
    return table(columns, ranked[:most], title, lambda row: True)


def noise_section(noise: Noise | None) -> Section:
    """The error of each layer, with its plot."""
    title = "Signal-to-noise against float, dB"
    if noise is None:
        return Section(title, notes=[_NOT_MEASURED])
    worst = furthest(noise, len(noise.worst))
    return Section(title, _snr_plot(noise), [noise_note(noise)], [worst], is_fine=True)


def time_by_part(report: Report, times: Times) -> Table:
    """What each part of the network takes and loses."""
    layers, ends, end = report.noise_of, {}, 0
    for part in times.parts:
        begin, end = end, end + part.operators
        inside = [layers[index] for index in range(begin, end) if index in layers]
        ends[part.name] = decibels(inside[-1] if inside else None)
    columns: list[Column[PartTime]] = [
        Column("part", lambda row: row.name),
        number("operators", lambda row: str(row.operators)),
        number("weights", lambda row: size(row.weight_bytes)),
        number("time", lambda row: milliseconds(row.median_s)),
        number("share", lambda row: percent(row.median_s / times.total_s)),
        number("SNR dB at its end", lambda row: ends[row.name]),
    ]
    return table(columns, times.parts, "Time by part")


def times_section(report: Report, times: Times) -> Section:
    """What each part takes, with its plot."""
    shares = [part.median_s / times.total_s for part in times.parts]
    bars = [
        (part.name, f"{milliseconds(part.median_s)}, {percent(share)}", share)
        for part, share in zip(times.parts, shares, strict=True)
    ]
    plot, tables = bar_chart(bars, "Time by part of the network"), [time_by_part(report, times)]
    return Section("Time by part", plot, [timing_note(times)], tables, is_fine=True)


def _signatures(report: Report) -> Table:
    columns: list[Column[Entry]] = [
        Column("signature", lambda row: row.key),
        number("operators", lambda row: str(row.operators)),
        number("MACs", lambda row: amount(row.macs)),
        Column("inputs", lambda row: _ends(row.inputs)),
        Column("outputs", lambda row: _ends(row.outputs)),
    ]
    return table(columns, report.signatures)


def decibels(layer: LayerNoise | None) -> str:
    """A layer's signal-to-noise; words where there is no number."""
    if layer is None:
        return ""
    if layer.snr_db is not None:
        return f"{layer.snr_db:.1f}"
    return "no signal" if layer.error else "exact"


def _cosine(layer: LayerNoise | None) -> str:
    return "" if layer is None or layer.cosine is None else f"{layer.cosine:.4f}"


def _ends(ends: Mapping[str, End]) -> str:
    return ", ".join(f"{name} {end}" for name, end in ends.items())


def timing_note(times: Times) -> str:
    """How the times were measured."""
    return (
        f"{milliseconds(times.total_s)} in all, in {times.runtime} with its kernels, threads: "
        f"{times.threads}; medians of {times.rounds} rounds on {times.data}: what a run takes longer "
        "with the part than without, evened out so that none is below 0: 0.00 ms is less than other "
        "programs disturb the measurement"
        + "".join(
            f"; {line}" for line in (times.surroundings.lines() if times.surroundings else ())
        )
    )


def noise_note(noise: Noise) -> str:
    """How the error was measured."""
    return (
        f"against {noise.against}: {noise.rows} rows of {noise.data} without padding, in "
        f"{noise.runtime} without its default delegate (XNNPACK); {len(noise.unmatched)} layers "
        "have no counterpart in float"
    )


def _heading(report: Report) -> list[str]:
    lines = [f"{report.file}  {size(report.size_bytes)}", f"  {bundle_line(report)}"]
    for row in report.signatures:
        mark = "*" if row.key == report.signature else " "
        lines.append(
            f" {mark}{row.key}: {_ends(row.inputs)} -> {_ends(row.outputs)}; {row.operators} "
            f"operators, {amount(row.macs)} multiply-accumulates"
        )
    more = (_weights(report), *edgetpu_lines(report), *island_lines(report), report.cost_model)
    more = (*more, *estimate_lines(report))
    return [*lines, *(f"  {line}" for line in more)]


def _weights(report: Report) -> str:
    held = ", ".join(f"{kind} {size(count)}" for kind, count in report.constant_bytes.items())
    return f"weights: {held or 'none'}"


def bundle_line(report: Report) -> str:
    """What the file says it is."""
    bundle = report.bundle
    if bundle is None:
        return f"no tfedge bundle: {report.bundle_note}"
    labels = f" ({', '.join(bundle.labels)})" if bundle.labels else ""
    return (
        f"{bundle.name}: {bundle.task}{labels}, {bundle.quantization}, up to {bundle.max_length} "
        f"tokens, verified on {', '.join(bundle.runtimes) or 'no runtime'}"
    )


def edgetpu_lines(report: Report) -> list[str]:
    """Of a file for the Edge TPU, what of it is compiled."""
    compiled = sum(row.operator == EDGETPU_OPERATOR for row in report.operators)
    left = len(report.operators) - compiled
    line = (
        f"compiled for the Edge TPU: {compiled} edgetpu-custom-op, {left} operators left on the CPU"
    )
    return [line] if compiled else []


def estimate_lines(report: Report) -> list[str]:
    """The estimated times of a file of tfedge."""
    return estimate_table.lines(report.estimates) if report.estimates else []


def island_lines(report: Report) -> list[str]:
    """The float islands, one a line."""
    islands, total = report.islands, report.total.operators
    if not islands:
        return [
            f"float islands: none; no operator of {total} computes in float "
            f"({report.conversions_outside} conversions)"
        ]
    computing = sum(len(island.operators) for island in islands)
    lines = [f"float islands: {len(islands)}, {computing} of {total} operators compute in float"]
    names = [f"{row.operator} #{row.index}" for row in report.operators]
    for island in islands:
        inside = some([names[index] for index in island.operators])
        entries = some([names[index] for index in island.entries]) or "the inputs"
        exits = some([names[index] for index in island.exits]) or "the outputs"
        cost = "no conversion"
        if island.dequantize or island.quantize:
            cost = (
                f"{island.dequantize} DEQUANTIZE and {island.quantize} QUANTIZE convert "
                f"{amount(island.converted_elements)} elements a run"
            )
        lines.append(f"  {inside}; between {entries} and {exits}; {cost}")
    return lines


def _snr_plot(noise: Noise) -> Chart | None:
    """Signal-to-noise of each layer along the network; the worst are named."""
    layers = [(row.layer, row.snr_db) for row in noise.layers if row.snr_db is not None]
    if not layers:
        return None
    values = [snr_db for _, snr_db in layers]
    ranks = {layer: rank for rank, layer in enumerate(noise.worst, start=1)}
    # What all of them begin with would only take the room.
    columns = zip(*(layer.split(".")[:-1] for layer in noise.worst), strict=False)
    shared = len(list(itertools.takewhile(lambda found: len(set(found)) == 1, columns)))
    points = []
    for index, (layer, snr_db) in enumerate(layers):
        tip, rank = f"{layer}: {snr_db:.1f} dB", ranks.get(layer)
        named = {"name": ".".join(layer.split(".")[shared:]), "number": str(rank)} if rank else {}
        points.append(Point(index, snr_db, tip, "worst" if rank else "small", **named))
    ends = (-0.5, len(layers) - 0.5), (min(0.0, *values) - 1, max(10.0, *values) + 1)
    axes = Axes(("layers, first to last", "dB"), *ends, has_x_labels=False)
    title = "Signal-to-noise in dB along the network's depth"
    return point_chart(points, range(len(points)), axes, title)


def cost_plot(summary: Sequence[Group]) -> Chart | None:
    """The share of the cost of each type of operator and dtype."""
    shares: dict[str, list[int]] = {}
    for row in summary:
        found = shares.setdefault(f"{row.operator} {row.dtype}", [0, 0])
        found[0] += row.cost
        found[1] += row.count
    if not shares:
        return None
    bars = sorted(shares.items(), key=lambda item: -item[1][0])
    if len(bars) > _BARS:
        rest = [sum(column) for column in zip(*(found for _, found in bars[_BARS:]), strict=True)]
        bars = [*bars[:_BARS], (f"{len(bars) - _BARS} other types", rest)]
    total = max(1, sum(found[0] for _, found in bars))
    rows = [
        (f"{name} \u00d7 {count}", f"{amount(units)}, {percent(units / total)}", units / total)
        for name, (units, count) in bars
    ]
    return bar_chart(rows, "Cost by type of operator and dtype")


def _range_plot(operators: Sequence[OperatorRow]) -> Chart | None:
    """The range of every quantised output along the network, on a symmetric logarithmic axis."""
    rows = [(f"{row.layer}: {interval(row.range)}", row.range) for row in operators if row.range]
    title = "Ranges of quantised outputs along the network's depth"
    return range_chart(rows, _LINEAR, title) if rows else None
