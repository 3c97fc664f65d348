"""How long a board takes for a model of tfedge, estimated without the board.

`operators.toml` has what operators cost on emulated boards: instructions, cycles of their code by
llvm-mca, lines that the first cache lacks, and lines from DRAM. `boards.toml` has what each of those
takes, fitted on published latencies of real boards (`make calibrate-boards`). Both are for one thread.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfedge.errors import InputError
from tfedge.inspect.graph import Operator, Subgraph, read_model
from tfedge.inspect.work import extent, kind_of, runs_each_time, sizes_of, weighted
from tfedge.measure.contestant import converted
from tfedge.records import Count, NotNegative, Positive, Share
from tfedge.runtime.bundle import Bundle

_FOLDER = Path(__file__).parent
RUNTIME = "litert"  # the one whose operators were counted
_MEASURES = ("instructions", "mca", "refills", "lines")
# What holds a model up, by the measures that tell of it.
_LIMITS = {"compute": ("instructions", "mca"), "level 2": ("refills",), "DRAM": ("lines",)}
_KINDS_NAMED = 5
_BEYOND = 4  # times the largest operator of a kind that was counted, sums over sizes still hold
# What the errors of a board stand on, whether times of the runtime were published of it or not.
_BASES = {
    True: "for one thread; the range is the error on real boards' published times of convolution "
    "networks, each predicted from the others: no Transformer's is among them",
    False: "for one thread; of this board no time in {runtime} is published: the range is the error on "
    "ncnn's published times of convolution networks, each predicted from the others, and no less than "
    "that of the same fit on other boards' times in {runtime}: no Transformer's is among them",
}
_OTHER = "ncnn"  # whose times are published of every board


_Work = tuple[str, tuple[tuple[str, int], ...]]  # of an operator: its kind, its sizes by name


@dataclasses.dataclass(frozen=True)
class KindTime:
    """What the operators of one kind take together; `limits` as those of a graph."""

    kind: str
    count: Count
    ms: Positive
    share: Share
    limits: Mapping[str, NotNegative]


@dataclasses.dataclass(frozen=True)
class GraphTime:
    """What one run of a graph takes.

    Attributes:
        least_ms, most_ms: between them the time is expected, see `basis_of`.
        limit: what takes most of it: compute, level 2 (data that the first cache lacks) or DRAM.
        limits: the shares of these.
        kinds: of operators, the longest first.
    """

    signature: str
    tokens: Count | None
    ms: Positive
    least_ms: Positive
    most_ms: Positive
    limit: str
    limits: Mapping[str, NotNegative]
    kinds: Sequence[KindTime]


@dataclasses.dataclass(frozen=True)
class FileTimes:
    """The times of a file's graphs, the shortest graph first."""

    file: str
    graphs: Sequence[GraphTime]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The estimated times of files on a board, as `tfedge bench --estimate --json` prints them."""

    board: str
    runtime: str
    threads: Count
    ghz: Positive
    error: Share  # the largest in validation
    basis: str
    files: Sequence[FileTimes]


@dataclasses.dataclass(frozen=True)
class Estimates:
    """The times of one graph.

    Attributes:
        boards: by their names, those that know all its operators.
        unknown: the kinds of operators that the others lack.
    """

    boards: Mapping[str, GraphTime]
    unknown: Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class BoardTimes:
    """What one run of each of a file's graphs takes on a board.

    Attributes:
        ms: by the tokens of a graph; empty where `unknown` names kinds of operators whose cost is not
            known.
        error: the largest in validation, see `basis_of`.
        checked_by: the runtime whose published times tell the error.
    """

    board: str
    runtime: str
    ms: Mapping[str, Positive]
    error: Share
    unknown: Sequence[str]
    checked_by: str


def known_boards() -> tuple[str, ...]:
    """The boards whose times can be estimated."""
    return tuple(_read("boards.toml"))


def estimate_files(models: Sequence[str], board: str, runtimes: Sequence[str]) -> Estimate:
    """Estimates the graphs of models of tfedge.

    Args:
        models: paths, with `@LENGTH` where one graph is asked for.
        runtimes: none, or the one that is known.

    Raises:
        InputError: a file, a board, a runtime or operators that the table lacks, which are named.
    """
    settings = _board(board)
    if others := [name for name in runtimes if name != RUNTIME]:
        raise InputError(
            f"no times in {others[0]} can be estimated: operators were counted in {RUNTIME} alone"
        )
    found = [_file_times(model, board) for model in models]
    return Estimate(board, RUNTIME, 1, settings["ghz"], settings["error"], basis_of(board), found)


def basis_of(board: str) -> str:
    """What the error that is told of a board stands on."""
    return _BASES[_checked_by(board) == RUNTIME].format(runtime=RUNTIME)


def _checked_by(board: str) -> str:
    return RUNTIME if _board(board)["litert_rows"] else _OTHER


def _file_times(given: str, board: str) -> FileTimes:
    """The times of one file's graphs, or of the one behind its @."""
    contestant, bundle = converted(given, None, 1)
    if RUNTIME not in bundle.manifest.runtimes:
        raise InputError(
            f"{given}: no time can be estimated, since it was not verified on {RUNTIME}, in which "
            f"operators were counted; convert it with --runtime {RUNTIME}"
        )
    model, asked = read_model(contestant.file), contestant.facts.lengths or ()
    lengths = {key: n for key, n in bundle.manifest.signatures.items() if n in asked}
    graphs = {
        item.key: model.subgraphs[item.subgraph] for item in model.signatures if item.key in lengths
    }
    if not all(map(_running, graphs.values())):
        raise InputError(f"{given}: a graph computes nothing; convert it again")
    try:
        refuse_unknown(graphs.values(), board)
    except InputError as error:
        raise InputError(f"{given}: {error}") from error
    ordered = sorted(graphs, key=lambda key: lengths[key])
    return FileTimes(given, [graph_time(graphs[key], board, key, lengths[key]) for key in ordered])


def times_of(path: Path, bundle: Bundle) -> list[BoardTimes]:
    """The times of a file on every board, the shortest graph first; none where it was not verified on
    the runtime."""
    if RUNTIME not in bundle.manifest.runtimes:
        return []
    model, lengths = read_model(path), bundle.manifest.signatures
    graphs = {lengths[item.key]: model.subgraphs[item.subgraph] for item in model.signatures}
    if not all(map(_running, graphs.values())):
        return []
    return [_board_times(board, graphs) for board in known_boards()]


def _board_times(board: str, graphs: Mapping[int, Subgraph]) -> BoardTimes:
    unknown = unknown_kinds(graphs.values(), board)
    known = [] if unknown else sorted(graphs.items())
    ms = {str(tokens): graph_time(graph, board, "", tokens).ms for tokens, graph in known}
    return BoardTimes(board, RUNTIME, ms, _board(board)["error"], unknown, _checked_by(board))


def estimates_of(graph: Subgraph, signature: str, bundle: Bundle) -> Estimates | None:
    """The times of one graph on every board; None where it was not verified on the runtime, or
    computes nothing."""
    if RUNTIME not in bundle.manifest.runtimes or not _running(graph):
        return None
    tokens = bundle.manifest.signatures.get(signature)
    unknown = {name: unknown_kinds([graph], name) for name in known_boards()}
    times = {
        name: graph_time(graph, name, signature, tokens)
        for name, kinds in unknown.items()
        if not kinds
    }
    return Estimates(times, {name: kinds for name, kinds in unknown.items() if kinds})


def refuse_unknown(graphs: Iterable[Subgraph], board: str) -> None:
    """Raises InputError where the table lacks an operator, naming all that it lacks."""
    _refuse(unknown_kinds(graphs, board), board)


def _refuse(unknown: Sequence[str], board: str) -> None:
    if unknown:
        named = "; ".join(unknown[:_KINDS_NAMED])
        more = len(unknown) - _KINDS_NAMED
        raise InputError(
            f"no time can be estimated: what these operators cost on {board} is not known: {named}"
            f"{f' and {more} more' if more > 0 else ''}; measure on a board with --board USER@HOST"
        )


def added_ms(before: Subgraph, after: Subgraph, board: str) -> float:
    """The milliseconds that `after` takes longer than `before`, below 0 where it is the faster one.

    An operator of the same kind and sizes in both takes the same in both and need not be known. Raises
    InputError where the table lacks another one, naming all that it lacks.
    """
    works = Counter(_works([after]))
    works.subtract(Counter(_works([before])))
    differing = [work for work, count in works.items() if count]
    _refuse(_lacking(differing, board), board)
    table, price = _table(board), prices(board)
    return sum(works[work] * sum(_each(work, table, price).values()) for work in differing)


def unknown_kinds(graphs: Iterable[Subgraph], board: str) -> list[str]:
    """The kinds of operators that the table lacks, or has of far smaller ones only, in their order."""
    return _lacking(_works(graphs), board)


def _works(graphs: Iterable[Subgraph]) -> Iterator[_Work]:
    """What each operator that runs does."""
    for graph in graphs:
        for operator in _running(graph):
            yield kind_of(operator, graph), tuple(sizes_of(operator, graph).items())


def _lacking(works: Iterable[_Work], board: str) -> list[str]:
    _board(board)
    known, found = _table(board), dict[str, None]()
    for kind, sizes in works:
        if kind not in known:
            found[kind] = None
        elif extent(dict(sizes)) > _BEYOND * known[kind]["most"]:
            found[f"{kind}, so large"] = None
    return list(found)


def _each(work: _Work, table: Mapping[str, Any], price: Mapping[str, float]) -> dict[str, float]:
    """The milliseconds of an operator, by measure."""
    kind, sizes = work
    return {name: price[name] * weighted(dict(sizes), table[kind][name]) for name in _MEASURES}


def _running(graph: Subgraph) -> list[Operator]:
    """The operators that an invocation runs."""
    return [operator for operator in graph.operators if runs_each_time(operator, graph)]


def prices(board: str) -> dict[str, float]:
    """The milliseconds that one of each measure takes."""
    settings = _board(board)
    cycle = 1e-6 / settings["ghz"]
    in_cycles = {"instructions": "instructions", "mca": "mca", "refills": "refill_cycles"}
    found = {measure: settings[name] * cycle for measure, name in in_cycles.items()}
    return {**found, "lines": settings["dram_ns"] * 1e-6}


def graph_time(graph: Subgraph, board: str, signature: str, tokens: int | None) -> GraphTime:
    """The time of one graph that computes something, all of whose operators the table has."""
    table, price = _table(board), prices(board)
    spent: Counter[str] = Counter()  # ms
    counts: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for work in _works([graph]):
        each = _each(work, table, price)
        spent.update(each)
        kinds[work[0]].update(each)
        counts[work[0]] += 1
    total, error, limits = spent.total(), _board(board)["error"], _limits(spent)
    ranked = sorted(kinds.items(), key=lambda item: -item[1].total())
    return GraphTime(
        signature=signature,
        tokens=tokens,
        ms=total,
        least_ms=total / (1 + error),
        most_ms=total / (1 - error),
        limit=max(limits, key=lambda name: limits[name]),
        limits=limits,
        kinds=[
            KindTime(kind, counts[kind], of.total(), of.total() / total, _limits(of))
            for kind, of in ranked
        ],
    )


def _limits(spent: Counter[str]) -> dict[str, float]:
    """The shares of what holds something up."""
    return {
        limit: sum(spent[name] for name in names) / spent.total()
        for limit, names in _LIMITS.items()
    }


def _board(board: str) -> dict[str, float]:
    boards = _read("boards.toml")
    if board not in boards:
        raise InputError(
            f"no times of {board!r} can be estimated; give one of {', '.join(boards)}, or measure on "
            "a board of your own without --estimate"
        )
    return dict(boards[board])


def _table(board: str) -> dict[str, Any]:
    """For each kind of operator the weights of sizes by measure, and the `most` that was counted."""
    return dict(_read("operators.toml")[RUNTIME][board])


@functools.cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / name).read_text(encoding="utf-8"))
