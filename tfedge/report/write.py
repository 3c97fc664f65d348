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
from tfedge.report.confusion import confusion_section
from tfedge.report.read import Architecture, Counts, Judged, Mission, read_results
from tfedge.report.verdict import name_of, names, verdicts
from tfedge.show.numbers import megabytes, percent, size
from tfedge.show.page import markdown, page
from tfedge.show.plots import Axes, Chart, Point, bar_chart, point_chart
from tfedge.show.table import Column, Section, number, table
from tfedge.show.verdict import Verdict

_LEAST_SPAN = 0.5  # percent; two points that hardly differ are no cliff
Standpoint = tuple[
    float, float
]  # of a model its relative time, above 0, and what it is worth, 0 to 1


@dataclasses.dataclass(frozen=True)
class Written:
    """The files of a report, and what stands above all else in them."""

    written: Sequence[Path]
    verdicts: Sequence[Verdict]


def write_report(results: Sequence[Path], output: Path, title: str) -> Written:
    """Puts results together, the widest view first, as `output`, X.html, and X.md beside it; gives
    both files and the verdicts on top of them.

    Raises:
        InputError: a result cannot be used, or nothing can be written.
        MissingPackageError: what draws charts is not installed.
    """
    read = read_results(results)
    draw: dict[type, Callable[[Any], Iterator[Section]]] = {
        Mission: _mission,
        Race: _race,
        Judged: confusion_section,
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
    said = verdicts(read)
    texts = {
        output.with_suffix(".html"): page(title, sections, verdicts=said),
        output.with_suffix(".md"): markdown(title, sections, said),
    }
    for path, text in texts.items():
        files.write_bytes(path, text.encode(errors="backslashreplace"))
    return Written(list(texts), said)


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
    plot = bar_chart(bars, "Speed-up by model")
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
            bar_chart(bars, f"Million instructions of {longest} tokens on {board}"),
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
    notes = [
        f"{race.texts} texts of {race.data}, {race.rounds} rounds in turns, "
        f"{race.machine.processors} x {race.machine.processor}. Times are relative to the first "
        "model, on a logarithmic scale; over rounds is the range of these ratios. Marked with *, "
        f"joined by the line: no other is both as fast and as good ({kind})."
    ]
    if race.machine.load > BUSY:
        notes.append(busy_note(race.machine) + ".")
    if race.surroundings is not None:
        notes += [f"{line}." for line in race.surroundings.lines()]
    columns: list[Column[tuple[int, Standing]]] = [
        number("#", lambda row: f"{row[0] + 1}{'*' if row[0] in best else ''}"),
        Column("model", lambda row: name_of(row[1])),
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
        _pareto_plot(race, best, kind),
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


def _pareto_plot(race: Race, best: Sequence[int], kind: str) -> Chart:
    """All contestants by name; a line joins those that nothing beats. What is worth most stands above,
    by its `kind`, in percent."""
    rows = race.contestants
    points = [
        Point(
            row.ratios.mean,
            100 * _worth(row),
            f"{name}: {row.ratios.mean:.2f}, {percent(_worth(row))}",
            "dot" if index in best else "beaten",
            name,
            str(index + 1),
        )
        for index, (row, name) in enumerate(zip(rows, names(rows), strict=True))
    ]
    costs, heights = [math.log10(point.x) for point in points], [point.y for point in points]
    ends = _padded(min(costs), max(costs), 0.08)
    axes = Axes(
        ("time of a text, by the first model's", f"{kind}, %"),
        (10.0 ** ends[0], 10.0 ** ends[1]),
        _padded(min(heights), max(heights), _LEAST_SPAN),
        is_log=True,
    )
    return point_chart(points, best, axes, f"{kind.capitalize()} against time")


def _padded(low: float, high: float, least: float) -> tuple[float, float]:
    """A span with some room at both ends, `least` wide at least."""
    room = max(least, high - low) * 0.12
    middle, half = (low + high) / 2, max(least, high - low) / 2
    return middle - half - room, middle + half + room


def front(points: Sequence[Standpoint]) -> list[int]:
    """The indices of the points that no other is at least as cheap and as good as, cheapest first.

    Of equal points the first stays.
    """
    found: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not found or points[index][1] > points[found[-1]][1]:
            found.append(index)
    return found
