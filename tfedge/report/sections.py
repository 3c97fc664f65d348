"""What a report says, section by section, before it becomes HTML or Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from tfedge.inspect.numbers import amount, percent, size
from tfedge.inspect.plots import cost_plot, snr_plot, time_plot
from tfedge.inspect.table import PART_COLUMNS, noise_note, part_rows, timing_note
from tfedge.report.pareto import front
from tfedge.report.plots import Point, pareto_plot
from tfedge.report.read import Results
from tfedge.report.schema import Contestant, Model, Race

_BUSY = 0.5  # processors; below, what a machine does by itself
_WORST = 5


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells.

    Attributes:
        numeric: a letter for each column, `n` for numbers and `-` for words.
        marked: the rows that stand out.
    """

    columns: Sequence[str]
    numeric: str
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, a plot (SVG, or empty), what is to be known, and tables."""

    title: str
    plot: str
    notes: Sequence[str]
    tables: Sequence[Table]


def sections(results: Results) -> list[Section]:
    """All that the results say, races first."""
    return [
        *(_race(race) for race in results.races),
        *(section for model in results.models for section in _model(model)),
    ]


def _race(race: Race) -> Section:
    rows = race.contestants
    worths = [_worth(row) for row in rows]
    kind = "accuracy" if all(row.accuracy is not None for row in rows) else "same answer"
    best = front([row.ratios.mean for row in rows], worths)
    points = [
        Point(row.ratios.mean, worth, f"{row.name}: {row.ratios.mean:.2f}, {percent(worth)}")
        for row, worth in zip(rows, worths, strict=True)
    ]
    notes = [
        f"{race.texts} texts of {race.data}, {race.rounds} rounds in turns, "
        f"{race.machine.processors} x {race.machine.processor}. Times are relative to the first "
        "model; over rounds is the range of these ratios. Marked with *, joined by the line: no "
        f"other is both as fast and as good ({kind})."
    ]
    if race.machine.load > _BUSY:
        notes.append(
            f"{race.machine.load:.1f} processors were busy before this began: the times are "
            "unreliable; repeat it on an idle machine."
        )
    columns = ["#", "model", "runtime", "threads", "mean", "over rounds", "median", "p90"]
    columns += [kind, "memory", "file", "start"]
    cells = [
        [str(index + 1) + ("*" if index in best else ""), *_cells(row, worth)]
        for index, (row, worth) in enumerate(zip(rows, worths, strict=True))
    ]
    title = f"{kind.capitalize()} against time: {PurePath(race.data).name}"
    return Section(
        title,
        pareto_plot(points, best, kind),
        notes,
        [Table(columns, "n--nnnnnnnnn", cells)],
    )


def _worth(row: Contestant) -> float:
    return 1 - row.disagreement if row.accuracy is None else row.accuracy


def _cells(row: Contestant, worth: float) -> list[str]:
    low, high = row.ratio_range
    return [
        *(PurePath(row.name).name, row.runtime, str(row.threads)),
        *(f"{row.ratios.mean:.2f}", f"{low:.2f}-{high:.2f}"),
        *(f"{row.ratios.median:.2f}", f"{row.ratios.p90:.2f}", percent(worth)),
        "" if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 1e6:.0f} MB",
        *(size(row.size_bytes), f"{row.start_ms:.0f} ms"),
    ]


def _model(model: Model) -> Iterator[Section]:
    name = PurePath(model.file).name
    report = model.model_dump()
    yield Section(
        f"{name}: what it computes",
        cost_plot(report["summary"]),
        [f"{_kind(model)}{size(model.size_bytes)}, graph {model.signature or 'without a name'}."],
        [_operators(model)],
    )
    if model.timing is not None:
        yield Section(
            f"{name}: time, size and error by part",
            time_plot(report["timing"]),
            [timing_note(report["timing"])],
            [Table(PART_COLUMNS, "-nnnnn", part_rows(report))],
        )
    if model.noise is not None:
        yield Section(
            f"{name}: signal-to-noise against float, dB",
            snr_plot(report["noise"]),
            [noise_note(report["noise"])],
            [_worst(report["noise"])],
        )


def _kind(model: Model) -> str:
    bundle = model.bundle
    if bundle is None:
        return ""
    return f"{bundle.task}, {bundle.quantization}, up to {bundle.max_length} tokens; "


def _operators(model: Model) -> Table:
    total = max(1, sum(row.cost for row in model.summary))
    rows = [
        [row.operator, row.dtype, str(row.count), amount(row.cost), percent(row.cost / total)]
        for row in model.summary
    ]
    return Table(["operator", "dtype", "count", "cost", "share"], "--nnn", rows)


def _worst(noise: dict[str, Any]) -> Table:
    layers = {row["layer"]: row for row in noise["layers"]}
    found = [layers[name] for name in noise["worst"][:_WORST] if name in layers]
    rows = [
        [str(rank), row["layer"], "" if row["snr_db"] is None else f"{row['snr_db']:.1f}"]
        for rank, row in enumerate(found, start=1)
    ]
    return Table(["#", "furthest from float", "SNR dB"], "n-n", rows, frozenset(range(len(rows))))
