"""Writes what was measured as one HTML page and one Markdown file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from tfedge import files
from tfedge.inspect.outlier_table import outliers_section
from tfedge.inspect.result import Report
from tfedge.inspect.table import cost_plot, noise_section, summary, times_section
from tfedge.measure.race import BUSY, Race, Standing, busy_note
from tfedge.report.read import Architecture, Counts, Mission, read_results
from tfedge.show.numbers import megabytes, percent, size
from tfedge.show.page import markdown, page
from tfedge.show.plots import Frame, Scale, bar_plot, escape, label, svg, ticks
from tfedge.show.table import Column, Section, number, table

_FRAME = Frame(height=360, left=60, right=24, top=20, bottom=44)
_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # percent between lines
_LEAST_SPAN = 0.5  # percent; two points that hardly differ are no cliff
_TICKS = (1.0, 2.0, 5.0)  # of each power of ten
Point = tuple[float, float]  # of a model its relative time, above 0, and what it is worth, 0 to 1


def write_report(results: Sequence[Path], output: Path, title: str) -> list[Path]:
    """Puts results together, the widest view first, as `output`, X.html, and X.md beside it; gives
    both files. Raises InputError where a result cannot be used, or nothing can be written."""
    read = read_results(results)
    draw: dict[type, Callable[[Any], Iterator[Section]]] = {
        Mission: _mission,
        Race: _race,
        Counts: _counts,
        Report: _model,
    }
    sections = [
        section
        for kind, drawn in draw.items()
        for record in read
        if isinstance(record, kind)
        for section in drawn(record)
    ]
    written = [output.with_suffix(".html"), output.with_suffix(".md")]
    for path, text in zip(written, (page(title, sections), markdown(title, sections)), strict=True):
        files.write_bytes(path, text.encode(errors="backslashreplace"))
    return written


def _mission(mission: Mission) -> Iterator[Section]:
    models = mission.models
    modes = dict.fromkeys(mode for row in models.values() for mode in row.minsn)
    columns: list[Column[tuple[str, Architecture]]] = [
        Column("model", lambda row: row[0]),
        number("parameters", lambda row: f"{row[1].parameters / 1e6:.1f} M"),
        number("GFLOPs", lambda row: f"{row[1].flops / 1e9:.2f}"),
        *(
            number(f"Minsn {mode}", lambda row, mode=mode: _tenths(row[1].minsn.get(mode)))  # type: ignore[misc]
            for mode in modes
        ),
        number("speed-up", lambda row: _tenths(row[1].speed_up, " x")),
    ]
    found = {name: row.speed_up for name, row in models.items() if row.speed_up}
    longest = max(found.values(), default=1.0)
    bars = [(name, _tenths(times, " x"), times / longest) for name, times in found.items()]
    notes = [
        f"Million instructions (Minsn) for one text of {mission.tokens} tokens on an emulated "
        f"{mission.board}, the fewest of its runtimes; the speed-up is {mission.base} in float32 by "
        "the model's fewest in any mode. Counts are not times, but they rank models."
    ]
    notes += [
        f"{name} on {row.texts.texts} texts of {row.texts.data}, each in the shortest graph that "
        f"holds it: {_tenths(row.texts.minsn)} Minsn a text, {_tenths(row.texts.speed_up, ' x')} of "
        f"{mission.base} on {mission.tokens} tokens."
        for name, row in models.items()
        if row.texts is not None
    ]
    plot = bar_plot(bars, "Speed-up by model")
    yield Section("Architectures on a board", plot, notes, [table(columns, models.items())])


def _counts(counts: Counts) -> Iterator[Section]:
    for board in dict.fromkeys(count.board for count in counts.counts):
        of_board = [count for count in counts.counts if count.board == board]
        lengths = sorted({count.tokens for count in of_board})
        models: dict[tuple[str, str], dict[int, float | None]] = {}
        for count in of_board:
            models.setdefault((count.model, count.runtime), {})[count.tokens] = count.minsn
        longest = lengths[-1]
        done = [(minsn, key) for key, found in models.items() if (minsn := found.get(longest))]
        most = max(done, default=(1.0,))[0]
        bars = [
            (f"{model} in {runtime}", f"{_tenths(minsn)} Minsn", minsn / most)
            for minsn, (model, runtime) in sorted(done, key=lambda item: item[0])
        ]
        columns: list[Column[tuple[tuple[str, str], dict[int, float | None]]]] = [
            Column("model", lambda row: row[0][0]),
            Column("runtime", lambda row: row[0][1]),
            *(
                number(str(length), lambda row, length=length: _tenths(row[1].get(length)))  # type: ignore[misc]
                for length in lengths
            ),
        ]
        yield Section(
            f"Instructions on {board}",
            bar_plot(bars, f"Million instructions of {longest} tokens on {board}"),
            [
                "Million instructions for one text, by its tokens, on an emulated board; empty: it "
                f"failed or has no such graph. The bars are for {longest} tokens."
            ],
            [table(columns, models.items())],
        )


def _tenths(number: float | None, unit: str = "") -> str:
    return "" if number is None else f"{number:.1f}{unit}"


def _worth(row: Standing) -> float:
    return 1 - row.disagreement if row.accuracy is None else row.accuracy


def _race(race: Race) -> Iterator[Section]:
    rows = race.contestants
    kind = "accuracy" if all(row.accuracy is not None for row in rows) else "same answer"
    points = [(row.ratios.mean, _worth(row)) for row in rows]
    best = front(points)
    titles = [f"{row.name}: {row.ratios.mean:.2f}, {percent(_worth(row))}" for row in rows]
    notes = [
        f"{race.texts} texts of {race.data}, {race.rounds} rounds in turns, "
        f"{race.machine.processors} x {race.machine.processor}. Times are relative to the first "
        "model; over rounds is the range of these ratios. Marked with *, joined by the line: no "
        f"other is both as fast and as good ({kind})."
    ]
    if race.machine.load > BUSY:
        notes.append(busy_note(race.machine) + ".")
    columns: list[Column[tuple[int, Standing]]] = [
        number("#", lambda row: f"{row[0] + 1}{'*' if row[0] in best else ''}"),
        Column("model", lambda row: PurePath(row[1].name).name),
        Column("runtime", lambda row: row[1].runtime),
        number("threads", lambda row: str(row[1].threads)),
        number("mean", lambda row: f"{row[1].ratios.mean:.2f}"),
        number("over rounds", lambda row: "{:.2f}-{:.2f}".format(*row[1].ratio_range)),
        number("median", lambda row: f"{row[1].ratios.median:.2f}"),
        number("p90", lambda row: f"{row[1].ratios.p90:.2f}"),
        number(kind, lambda row: percent(_worth(row[1]))),
        number("memory", lambda row: megabytes(row[1].peak_rss_bytes)),
        number("file", lambda row: size(row[1].size_bytes)),
        number("start", lambda row: f"{row[1].start_ms:.0f} ms"),
    ]
    yield Section(
        f"{kind.capitalize()} against time: {PurePath(race.data).name}",
        _pareto_plot(points, titles, best, kind),
        notes,
        [table(columns, enumerate(rows))],
    )


def _model(model: Report) -> Iterator[Section]:
    name, bundle = PurePath(model.file).name, model.bundle
    kind = ""
    if bundle is not None:
        kind = f"{bundle.task}, {bundle.quantization}, up to {bundle.max_length} tokens; "
    note = f"{kind}{size(model.size_bytes)}, graph {model.signature or 'without a name'}."
    plot = cost_plot(model.summary)
    yield Section(f"{name}: what it computes", plot, [note], [summary(model)])
    if model.timing is not None:
        section = times_section(model, model.timing)
        yield dataclasses.replace(section, title=f"{name}: time, size and error by part")
    if model.noise is not None:
        section = noise_section(model.noise)
        yield dataclasses.replace(section, title=f"{name}: signal-to-noise against float, dB")
    if model.outliers is not None:
        yield dataclasses.replace(outliers_section(model.outliers), title=f"{name}: outliers")


def _pareto_plot(
    points: Sequence[Point], titles: Sequence[str], front: Sequence[int], kind: str
) -> str:
    """Points by their numbers in the table below; a line joins those that nothing beats.

    Tooltips say the `titles`; the vertical axis shows a `kind`, in percent.
    """
    costs = [math.log10(cost) for cost, _ in points]
    worths = [100 * worth for _, worth in points]
    low, high = _padded(min(costs), max(costs), 0.08)
    bottom, top = _padded(min(worths), max(worths), _LEAST_SPAN)
    x, y = _FRAME.x(low, high), _FRAME.y(bottom, top)
    parts = [*_FRAME.grid(y, ticks(bottom, top, _STEPS)), *_time_grid(x, low, high)]
    steps = " ".join(f"{x(costs[index]):.1f},{y(worths[index]):.1f}" for index in front)
    parts.append(f'<polyline class="line" points="{steps}"/>')
    for index, (cost, worth) in enumerate(zip(costs, worths, strict=True)):
        look = "dot" if index in front else "beaten"
        at = f'cx="{x(cost):.1f}" cy="{y(worth):.1f}"'
        title = f"<title>{escape(titles[index])}</title>"
        parts.append(f'<circle class="{look}" r="5" {at}>{title}</circle>')
        parts.append(label(x(cost) + 8, y(worth) - 7, str(index + 1), "start", "number"))
    parts.append(
        label(_FRAME.left, _FRAME.height - 6, "time of a text, relative to 1 (logarithmic)")
    )
    parts.append(label(_FRAME.left, _FRAME.top - 8, f"{kind}, %"))
    return svg(_FRAME.height, parts, f"{kind.capitalize()} against time, by number in the table")


def _padded(low: float, high: float, least: float) -> tuple[float, float]:
    """A span with some room at both ends, `least` wide at least."""
    room = max(least, high - low) * 0.12
    middle, half = (low + high) / 2, max(least, high - low) / 2
    return middle - half - room, middle + half + room


def _time_grid(x: Scale, low: float, high: float) -> list[str]:
    parts, bottom = [], _FRAME.height - _FRAME.bottom
    for power in range(math.floor(low), math.ceil(high) + 1):
        for digit in _TICKS:
            at = math.log10(digit) + power
            if low <= at <= high:
                place = f'x1="{x(at):.1f}" x2="{x(at):.1f}"'
                parts.append(f'<line class="grid" {place} y1="{_FRAME.top}" y2="{bottom}"/>')
                text = f"{digit * 10.0**power:g}"
                parts.append(label(x(at), bottom + 16, text, "middle"))
    return parts


def front(points: Sequence[Point]) -> list[int]:
    """The indices of the points that no other is at least as cheap and as good as, cheapest first.

    Of equal points the first stays.
    """
    found: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not found or points[index][1] > points[found[-1]][1]:
            found.append(index)
    return found
