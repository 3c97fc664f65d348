"""What a report says, section by section, before it becomes HTML or Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import PurePath

from tfedge.inspect.plots import cost_plot
from tfedge.inspect.result import Report
from tfedge.inspect.table import noise_section, summary, times_section
from tfedge.measure.race import BUSY, Race, Standing, busy_note
from tfedge.report.plots import Point, front, pareto_plot
from tfedge.report.read import Architecture, Counts, Mission, Results
from tfedge.show.numbers import percent, size
from tfedge.show.plots import bar_plot
from tfedge.show.table import Column, Section, number, table


def sections(results: Results) -> list[Section]:
    """All that the results say, the widest view first."""
    return [
        *(_mission(mission) for mission in results.missions),
        *(_race(race) for race in results.races),
        *(section for counts in results.counts for section in _counts(counts)),
        *(section for model in results.models for section in _model(model)),
    ]


def _mission(mission: Mission) -> Section:
    models = mission.models
    modes = dict.fromkeys(mode for row in models.values() for mode in row.minsn)
    columns: list[Column[tuple[str, Architecture]]] = [
        Column("model", lambda row: row[0]),
        number("parameters", lambda row: f"{row[1].parameters / 1e6:.1f} M"),
        number("GFLOPs", lambda row: f"{row[1].flops / 1e9:.2f}"),
        *(
            number(f"Minsn {mode}", lambda row, mode=mode: _minsn(row[1].minsn.get(mode)))  # type: ignore[misc]
            for mode in modes
        ),
        number("speed-up", lambda row: _times(row[1].speed_up)),
    ]
    found = {name: row.speed_up for name, row in models.items() if row.speed_up}
    longest = max(found.values(), default=1.0)
    bars = [(name, _times(times), times / longest) for name, times in found.items()]
    notes = [
        f"Million instructions (Minsn) for one text of {mission.tokens} tokens on an emulated "
        f"{mission.board}, the fewest of its runtimes; the speed-up is {mission.base} in float32 by "
        "the model's fewest in any mode. Counts are not times, but they rank models."
    ]
    for name, row in models.items():
        if row.texts is not None:
            notes.append(
                f"{name} on {row.texts.texts} texts of {row.texts.data}, each in the shortest graph "
                f"that holds it: {_minsn(row.texts.minsn)} Minsn a text, "
                f"{_times(row.texts.speed_up)} of {mission.base} on {mission.tokens} tokens."
            )
    plot = bar_plot(bars, "Speed-up by model")
    return Section("Architectures on a board", plot, notes, [table(columns, models.items())])


_Counted = tuple[tuple[str, str], dict[int, float | None]]  # by model and runtime, by length


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
        columns: list[Column[_Counted]] = [
            Column("model", lambda row: row[0][0]),
            Column("runtime", lambda row: row[0][1]),
            *(
                number(str(length), lambda row, length=length: _minsn(row[1].get(length)))  # type: ignore[misc]
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


def _minsn(number: float | None) -> str:
    return "" if number is None else f"{number:.1f}"


def _times(number: float | None) -> str:
    return "" if number is None else f"{number:.1f} x"


@dataclasses.dataclass(frozen=True)
class _Place:
    """A contestant, its number in the plot and what it is worth."""

    number: int
    row: Standing
    worth: float
    is_best: bool


def _race(race: Race) -> Section:
    rows = race.contestants
    worths = [1 - row.disagreement if row.accuracy is None else row.accuracy for row in rows]
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
    if race.machine.load > BUSY:
        notes.append(busy_note(race.machine) + ".")
    places = [
        _Place(index + 1, row, worth, index in best)
        for index, (row, worth) in enumerate(zip(rows, worths, strict=True))
    ]
    return Section(
        f"{kind.capitalize()} against time: {PurePath(race.data).name}",
        pareto_plot(points, best, kind),
        notes,
        [table(_race_columns(kind), places)],
    )


def _race_columns(kind: str) -> list[Column[_Place]]:
    def memory(place: _Place) -> str:
        found = place.row.peak_rss_bytes
        return "" if found is None else f"{found / 1e6:.0f} MB"

    return [
        number("#", lambda place: f"{place.number}{'*' if place.is_best else ''}"),
        Column("model", lambda place: PurePath(place.row.name).name),
        Column("runtime", lambda place: place.row.runtime),
        number("threads", lambda place: str(place.row.threads)),
        number("mean", lambda place: f"{place.row.ratios.mean:.2f}"),
        number("over rounds", lambda place: "{:.2f}-{:.2f}".format(*place.row.ratio_range)),
        number("median", lambda place: f"{place.row.ratios.median:.2f}"),
        number("p90", lambda place: f"{place.row.ratios.p90:.2f}"),
        number(kind, lambda place: percent(place.worth)),
        number("memory", memory),
        number("file", lambda place: size(place.row.size_bytes)),
        number("start", lambda place: f"{place.row.start_ms:.0f} ms"),
    ]


def _model(model: Report) -> Iterator[Section]:
    name = PurePath(model.file).name
    bundle = model.bundle
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
