"""What is printed of estimated times."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from tfedge.inspect.estimate import RUNTIME, BoardTimes, Estimate, Estimates, GraphTime
from tfedge.show.numbers import percent, some
from tfedge.show.table import Column, number, table
from tfedge.show.text import wide

_KINDS_SHOWN = 6


def render(result: Estimate) -> str:
    """What `tfedge bench --estimate` prints: a row for each file and length."""
    columns: list[Column[tuple[str, GraphTime]]] = [
        Column("", lambda row: row[0]),
        number("tokens", lambda row: str(row[1].tokens)),
        number("ms", lambda row: _number(row[1].ms)),
        number("between", lambda row: between(row[1])),
        Column("limit", lambda row: f"{row[1].limit} {percent(row[1].limits[row[1].limit])}"),
        Column("costliest", lambda row: _costliest(row[1])),
    ]
    rows = [(item.file, graph) for item in result.files for graph in item.graphs]
    return "\n".join(
        [
            f"estimated, not measured: {result.board} at {result.ghz:g} GHz, {result.runtime}",
            *wide(table(columns, rows)),
            result.basis,
        ]
    )


def between(graph: GraphTime) -> str:
    """The range in which the time is expected."""
    return f"{_number(graph.least_ms)}-{_number(graph.most_ms)}"


def _number(ms: float) -> str:
    """Three digits or so, which is more than is known."""
    return f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}"


def _costliest(graph: GraphTime) -> str:
    """The kind of operators that takes most."""
    first = graph.kinds[0]
    return f"{first.count} x {first.kind.split()[0]} {percent(first.share)}"


def lines(found: Estimates) -> list[str]:
    """The times of a graph on several boards, and why there are none on others."""
    shown = [
        f"{board} {_number(graph.ms)} ms ({between(graph)}, limit {graph.limit})"
        for board, graph in found.boards.items()
    ]
    told = [f"estimated, {RUNTIME}, one thread: {', '.join(shown)}"] if shown else []
    return [*told, *_kinds(found.boards)] + [
        f"no time estimated on {board}: what it costs there is not known of {some(kinds)}"
        for board, kinds in found.unknown.items()
    ]


def _kinds(boards: Mapping[str, GraphTime]) -> list[str]:
    """The costliest kinds of operators: what they take on each board, and what holds them up there."""
    if not boards:
        return []
    ranked = [kind.kind for kind in next(iter(boards.values())).kinds]
    columns: list[Column[str]] = [Column("", lambda kind: kind)]
    columns += [
        Column(f"{name}, ms, limit", functools.partial(_kind_on, graph))
        for name, graph in boards.items()
    ]
    more = len(ranked) - _KINDS_SHOWN
    rest = [f"and {more} more kinds of operators, which --json has"] if more > 0 else []
    return [*wide(table(columns, ranked[:_KINDS_SHOWN])), *rest]


def _kind_on(graph: GraphTime, kind: str) -> str:
    """What the operators of a kind take in a graph, and what holds them up."""
    found = next(one for one in graph.kinds if one.kind == kind)
    limit = max(found.limits, key=lambda name: found.limits[name])
    return f"{_number(found.ms)}, {limit} {percent(found.limits[limit])}"


def summary(found: Sequence[BoardTimes], unit: str) -> list[str]:
    """A line for each board: what the shortest and the longest graph take, `unit` being what texts are
    counted in."""
    return [_board_line(times, unit) for times in found]


def _board_line(times: BoardTimes, unit: str) -> str:
    if times.unknown:
        return (
            f"no time estimated on {times.board}: what it costs there is not known of "
            f"{some(times.unknown)}"
        )
    (short, first), *_, (long, last) = [*times.ms.items()] * 2
    shown = f"{_number(last)} ms for {long} {unit}"
    if short != long:
        shown = f"{_number(first)} ms for {short} {unit}, {_number(last)} for {long}"
    of_others = "" if times.checked_by == times.runtime else f", by times of {times.checked_by}"
    return (
        f"estimated on {times.board}, {times.runtime}, one thread: {shown} (up to "
        f"{percent(times.error)} off{of_others})"
    )
