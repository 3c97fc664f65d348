"""What a report says, section by section, before it becomes HTML or Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from tfedge.inspect.numbers import amount, percent, size
from tfedge.inspect.plots import bar_plot, cost_plot, snr_plot, time_plot
from tfedge.inspect.table import PART_COLUMNS, noise_note, part_rows, timing_note
from tfedge.report.pareto import front
from tfedge.report.plots import Point, pareto_plot
from tfedge.report.read import Results
from tfedge.report.schema import Contestant, Counts, Mission, Model, Race

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
    """All that the results say, the widest view first."""
    return [
        *(section for mission in results.missions for section in _mission(mission)),
        *(_race(race) for race in results.races),
        *(section for counts in results.counts for section in _counts(counts)),
        *(section for model in results.models for section in _model(model)),
    ]


def _mission(mission: Mission) -> Iterator[Section]:
    modes = list(dict.fromkeys(mode for row in mission.models.values() for mode in row.minsn))
    columns = ["model", "parameters", "GFLOPs", *(f"Minsn {mode}" for mode in modes), "speed-up"]
    rows = [
        [
            *(name, f"{row.parameters / 1e6:.1f} M", f"{row.flops / 1e9:.2f}"),
            *(_minsn(row.minsn.get(mode)) for mode in modes),
            _times(row.speed_up),
        ]
        for name, row in mission.models.items()
    ]
    found = {name: row.speed_up for name, row in mission.models.items() if row.speed_up}
    longest = max(found.values(), default=1.0)
    bars = [(name, _times(times), times / longest) for name, times in found.items()]
    notes = [
        f"Million instructions (Minsn) for one text of {mission.tokens} tokens on an emulated "
        f"{mission.board}, the fewest of its runtimes; the speed-up is {mission.base} in float32 by "
        "the model's fewest in any mode. A count is no time, but ranks what a board would run."
    ]
    for name, row in mission.models.items():
        if row.texts is not None:
            notes.append(
                f"{name} on {row.texts.texts} texts of {row.texts.data}, each in the shortest graph "
                f"that holds it: {_minsn(row.texts.minsn)} Minsn a text, "
                f"{_times(row.texts.speed_up)} of {mission.base} on {mission.tokens} tokens."
            )
    plot = bar_plot(bars, "Speed-up by model")
    numeric = "-" + "n" * (len(columns) - 1)
    yield Section("Architectures on a board", plot, notes, [Table(columns, numeric, rows)])


def _counts(counts: Counts) -> Iterator[Section]:
    for board in dict.fromkeys(count.board for count in counts.counts):
        of_board = [count for count in counts.counts if count.board == board]
        lengths = sorted({count.tokens for count in of_board})
        models: dict[tuple[str, str], dict[int, float | None]] = {}
        for count in of_board:
            models.setdefault((count.model, count.runtime), {})[count.tokens] = count.minsn
        longest = lengths[-1]
        done = [(key, found[longest]) for key, found in models.items() if found.get(longest)]
        ranked = sorted(((key, minsn) for key, minsn in done if minsn), key=lambda item: item[1])
        most = max((minsn for _, minsn in ranked), default=1.0)
        bars = [
            (f"{model} in {runtime}", f"{_minsn(minsn)} Minsn", minsn / most)
            for (model, runtime), minsn in ranked
        ]
        rows = [
            [model, runtime, *(_minsn(found.get(length)) for length in lengths)]
            for (model, runtime), found in models.items()
        ]
        yield Section(
            f"Instructions on {board}",
            bar_plot(bars, f"Million instructions of {longest} tokens on {board}"),
            [
                "Million instructions for one text, by its tokens, on an emulated board; empty: it "
                f"failed or has no such graph. The bars are for {longest} tokens."
            ],
            [Table(["model", "runtime", *map(str, lengths)], "--" + "n" * len(lengths), rows)],
        )


def _minsn(number: float | None) -> str:
    return "" if number is None else f"{number:.1f}"


def _times(number: float | None) -> str:
    return "" if number is None else f"{number:.1f} x"


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
