"""The verdicts of a report: each model that was raced, inspected or counted, beside float and peers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from tfedge.inspect.result import Report
from tfedge.measure.race import Race, Standing
from tfedge.report.read import Counted, Counts, Mission, Result
from tfedge.show.numbers import percent
from tfedge.show.verdict import (
    Figure,
    Verdict,
    accuracy,
    agreement,
    compared,
    instructions,
    missing,
    sized,
    timed,
    verdict,
)

_FLOAT = ("float32", "float")


def verdicts(results: Sequence[Result]) -> list[Verdict]:
    """A verdict a race; then of each model that is in none; then of what was only counted."""
    counts = [count for item in results if isinstance(item, Counts) for count in item.counts]
    found = [_of_race(item, counts) for item in results if isinstance(item, Race)]
    told = {one.model for one in found}
    inspected = [item.verdict for item in results if isinstance(item, Report)]
    found += [one for one in inspected if one is not None and one.model not in told]
    if not found and (counted := _of_counts(counts)):
        found.append(counted)
    return [*found, *(_of_mission(item) for item in results if isinstance(item, Mission))]


def name_of(row: Standing) -> str:
    """What a contestant is called: a file's name, or the peer's."""
    return PurePath(row.name).name if row.kind == "tfedge" else row.name


def names(rows: Sequence[Standing]) -> list[str]:
    """What all are called in one chart: with runtime and threads, where these differ."""
    runtimes = {row.runtime for row in rows if row.kind == "tfedge"}
    threads = {row.threads for row in rows}
    found = []
    for row in rows:
        parts = [name_of(row)]
        parts += [row.runtime] if len(runtimes) > 1 and row.kind == "tfedge" else []
        parts += [f"{row.threads} threads"] if len(threads) > 1 else []
        found.append(", ".join(parts))
    return found


def _of_race(race: Race, counts: Sequence[Counted]) -> Verdict:
    rows = race.contestants
    ours = next((row for row in rows if row.kind == "tfedge" and row.mode not in _FLOAT), rows[0])
    floats = _float_of(ours, rows)
    on = f"{race.texts} texts of {PurePath(race.data).name} in {ours.runtime}"
    figures = [
        _worth(ours, floats, on),
        sized(ours.size_bytes, floats.size_bytes if floats else None, "the files"),
        timed(
            ours.mean_ms,
            floats.mean_ms if floats else None,
            f"mean of {on}, threads: {ours.threads}",
        ),
        _fastest_peer(ours, rows),
    ]
    name = name_of(ours)
    if counts:
        figures.append(_counted(name, counts))
    return verdict(name, figures)


def _float_of(ours: Standing, rows: Iterable[Standing]) -> Standing | None:
    """The same model in float: of the same runtime and threads, if there is one."""
    found = [row for row in rows if row is not ours and row.kind == "tfedge" and row.mode in _FLOAT]
    return max(
        found,
        key=lambda row: (row.runtime == ours.runtime) + (row.threads == ours.threads),
        default=None,
    )


def _worth(ours: Standing, floats: Standing | None, on: str) -> Figure:
    if ours.accuracy is not None:
        return accuracy("accuracy", ours.accuracy, floats.accuracy if floats else None, on)
    if ours.float_disagreement is not None:
        return agreement(1 - ours.float_disagreement, on)
    return missing("accuracy", "share", "no labels, and no float model in the race")


def _fastest_peer(ours: Standing, rows: Iterable[Standing]) -> Figure:
    peers = [row for row in rows if row.kind == "peer"]
    if not peers:
        return missing("peers", "ms", "python -m benchmarks, in a clone, races them")
    best = min(peers, key=lambda row: row.mean_ms)
    worth = "" if best.accuracy is None else f", {percent(best.accuracy)}"
    who = f"the fastest of {len(peers)} peers ({best.name}{worth})"
    sides = f"faster than {who}", f"slower than {who}", f"as fast as {who}"
    words = compared(best.mean_ms / ours.mean_ms, *sides)
    return Figure("fastest peer", "ms", best.mean_ms, None, words, f"{best.name}{worth}")


def _counted(name: str, counts: Sequence[Counted]) -> Figure:
    """Instructions of the longest graph on the first board that counted the model."""
    mine = [count for count in counts if count.model == name and count.minsn is not None]
    if not mine:
        return missing("instructions", "Minsn", "make bench-arm counts them")
    board, tokens = mine[0].board, max(count.tokens for count in mine)
    stem, _, _ = name.rpartition("_")
    fewest = [
        min((count.minsn for count in counts if _is(count, model, board, tokens)), default=None)  # type: ignore[type-var]
        for model in (name, f"{stem}_float32.tflite")
    ]
    assert fewest[0] is not None
    on = f"{tokens} tokens on an emulated {board}, the fewest of its runtimes"
    return instructions(fewest[0], fewest[1], on)


def _is(count: Counted, model: str, board: str, tokens: int) -> bool:
    at = (count.model, count.board, count.tokens)
    return at == (model, board, tokens) and count.minsn is not None


def _of_counts(counts: Sequence[Counted]) -> Verdict | None:
    """Of the first model of tfedge that is not in float."""
    done = [count.model for count in counts if count.minsn is not None]
    files = [name for name in done if name.endswith(".tflite")]
    ours = next((name for name in files if "_float" not in name), None)
    if ours is None:
        return None
    others = [missing("accuracy", "share", "tfedge eval"), missing("speed", "ms", "tfedge bench")]
    return verdict(ours, [_counted(ours, counts), *others])


def _of_mission(mission: Mission) -> Verdict:
    """The architecture that is furthest from the base."""
    found = {name: row.speed_up for name, row in mission.models.items() if row.speed_up}
    on = f"{mission.tokens} tokens on an emulated {mission.board}"
    if not found:
        return verdict(mission.base, [missing("instructions", "Minsn", on)])
    best = max(found, key=lambda name: found[name])
    fewest = [minsn for minsn in mission.models[best].minsn.values() if minsn is not None]
    base = mission.base if best != mission.base else "itself"
    sides = (
        f"fewer instructions than {base} in float32",
        f"more instructions than {base} in float32",
    )
    words = compared(found[best], *sides, f"as many instructions as {base} in float32")
    figure = Figure("instructions", "Minsn", min(fewest), None, words, on)
    return verdict(best, [figure])
