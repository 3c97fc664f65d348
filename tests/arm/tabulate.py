"""Makes the table of what operators cost on boards: `python tests/arm/tabulate.py MODEL...`.

Counts the operators of converted models one by one, in their own widths and in others, and fits for
each kind of operator a sum over its sizes. Kinds that the table has stay as they are, unless `--anew`
or named by `--kind`; for these, give all models that they were counted in. What is counted is kept in
a file, so that a second call counts only what is new. `--check` compares whole models under emulation
with their operators' sum.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from count_operators import ROOT, count_files, emulate
from cycles import CORES, Core, Work
from operators import Alone, Widths, length_of, take_apart
from scipy.optimize import nnls

from tfedge.inspect.estimate import prices
from tfedge.inspect.graph import read_model
from tfedge.inspect.work import extent, kind_of, runs_each_time, sizes_of, weighted
from tfedge.runtime.bundle import read_bundle

HOME = ROOT / "build/arm"
TABLE = ROOT / "tfedge/inspect/operators.toml"
RUNTIME = "litert"
MEASURES = tuple(field.name for field in dataclasses.fields(Work))
# The widths of the encoders that models are converted from, and at which lengths tinybert's operators
# are counted in each; of 20 and 40 keys are filled up.
WIDTHS = {
    "tinybert": Widths(312, 1200, 12, 26),
    "minilm": Widths(384, 1536, 12, 32),
    "base": Widths(768, 3072, 12, 64),
}
GRID = {"tinybert": (16, 20, 40, 48, 128), "minilm": (16, 20, 128), "base": (16, 20, 128)}
_OWN = (16, 128)  # lengths of other models, in their own widths
# Errors count relative to what an operator costs and this share of what the costliest of its kind does,
# larger where a small one lacks next to no line.
_SHARE = {"instructions": 0.002, "mca": 0.002, "refills": 0.1, "lines": 0.01}
# Sizes, those first that explain a cost by themselves. From DRAM comes what is read and written, once,
# and `again` what is too large to stay in a cache.
_ALL = ("call", "macs", "tiles", "out", "weights", "in", "edge", "depth_edge", "batches", "rows")
_ORDER = dict.fromkeys(("instructions", "mca", "refills"), _ALL)
_ORDER["lines"] = ("call", "weights", "in", "out", "again")
_WORTH = 0.8  # what a size has to leave, at most, of what was left without it
_EXACT = 1e-5  # squared relative error beyond which nothing is to be gained
_ROUNDS, _SMALL = 20, 0.02
_HEAD = """\
# What operators cost on boards, by runtime and board: for each kind a sum over sizes (see
# tfedge/inspect/work.py), of instructions, cycles by llvm-mca, lines that the first cache lacks, and
# lines from DRAM; most: the largest that was counted. Made by `make count-operators`.
"""


@dataclasses.dataclass(frozen=True)
class Counted:
    """One operator, what it is and what it took."""

    kind: str
    sizes: Mapping[str, int]
    work: Work

    @property
    def key(self) -> str:
        return f"{self.kind} {dict(self.sizes)}"


def read_counts(path: Path) -> list[Counted]:
    """What has been counted."""
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [Counted(kind, sizes, Work(*work)) for kind, sizes, work in found]


def _grid(model: Path) -> Iterator[tuple[tuple[int, ...], dict[int, int]]]:
    """Lengths and changes of sizes in which a model's operators are counted."""
    if not model.name.startswith("tinybert"):
        yield _OWN, {}
        return
    for name, lengths in GRID.items():
        changed = {} if name == "tinybert" else WIDTHS["tinybert"].to(WIDTHS[name])
        yield lengths, changed


def counts_of(board: str) -> Path:
    """Where what has been counted is kept."""
    return HOME / f"operators-{board}.jsonl"


def read_table(board: str) -> dict[str, dict[str, Any]]:
    """What the table has of a board, as `fit` gives it."""
    return dict(tomllib.loads(TABLE.read_text())[RUNTIME].get(board, {}))


def lacking(board: str) -> Callable[[Counted], bool]:
    """Tells whether the table lacks a kind."""
    table = read_table(board)
    return lambda one: one.kind not in table


def _wanted(board: str, anew: bool, kinds: Collection[str]) -> Callable[[Counted], bool]:
    """Tells whether a kind is counted."""
    missing = lacking(board)
    return lambda one: anew or one.kind in kinds or missing(one)


def count(board: str, model: Path, wanted: Callable[[Counted], bool]) -> None:
    """Counts the `wanted` operators of a model that have not been, and adds them to those that have."""
    core, counts = Core(board, HOME), counts_of(board)
    for lengths, changed in _grid(model):
        known = {each.key for each in read_counts(counts)}
        with tempfile.TemporaryDirectory() as folder:
            taken = take_apart(model, lengths, changed, Path(folder))
            new = _not_among(known, taken, wanted)
            lines = [_line(*new[path], work) for path, work in count_files(board, list(new), core)]
        with counts.open("a") as file:
            file.writelines(lines)
        print(f"{board}: {model.name} {lengths} {changed}: {len(lines)} operators", flush=True)


def _not_among(
    known: set[str], taken: Iterable[Alone], wanted: Callable[[Counted], bool]
) -> dict[Path, tuple[Counted, int]]:
    """Of files those with a wanted operator that is not known yet: what it is, and how often there."""
    found: dict[Path, tuple[Counted, int]] = {}
    for alone in taken:
        graph = read_model(alone.path).subgraphs[0]
        counted = Counted(alone.kind, sizes_of(graph.operators[0], graph), Work())
        if counted.key not in known and wanted(counted):
            known.add(counted.key)
            found[alone.path] = counted, alone.copies
    return found


def _line(counted: Counted, copies: int, work: Work) -> str:
    each = [value / copies for value in dataclasses.astuple(work)]
    return json.dumps((counted.kind, counted.sizes, each)) + "\n"


def fit(counts: Sequence[Counted]) -> dict[str, dict[str, Any]]:
    """For each kind the extent of the largest, and of each measure the weights of sizes."""
    kinds: dict[str, list[Counted]] = defaultdict(list)
    for each in counts:
        kinds[each.kind].append(each)
    return {
        kind: {
            "most": max(extent(each.sizes) for each in found),
            **{measure: _weights(found, measure) for measure in MEASURES},
        }
        for kind, found in sorted(kinds.items())
    }


def _weights(counts: Sequence[Counted], measure: str) -> dict[str, float]:
    """The weights of the fewest sizes that tell the costs: one is added after the other, as long as it
    helps, and of several that do about the same, as rows and elements of one width do, the first."""
    cost = np.array([getattr(each.work, measure) for each in counts])
    scale = cost + _SHARE[measure] * cost.max() + 1e-9
    sizes = [name for name in _ORDER[measure] if name in counts[0].sizes]
    columns = {name: np.array([each.sizes[name] for each in counts]) / scale for name in sizes}
    chosen = ["call"]
    weights, left = _solved([columns["call"]], cost / scale)
    while left > _EXACT * len(counts):
        tried = [
            (name, *_solved([columns[each] for each in (*chosen, name)], cost / scale))
            for name in sizes
            if name not in chosen
        ]
        least = min((rest for _, _, rest in tried), default=left)
        if least > _WORTH * left:
            break
        name, weights, left = next(one for one in tried if one[2] <= least / _WORTH)
        chosen.append(name)
    if measure == "lines":
        weights = _without_outliers([columns[name] for name in chosen], cost / scale)
    return {
        name: float(f"{1e6 * value:.4g}")
        for name, value in zip(chosen, weights, strict=True)
        if value
    }


def _without_outliers(columns: Sequence[np.ndarray], cost: np.ndarray) -> np.ndarray:
    """Weights of the least sum of errors instead of squares, by squares that are weighted anew: where a
    cache lets go what is read again, an operator lacks many times the lines of its like."""
    importance = np.ones(len(cost))
    for _ in range(_ROUNDS):
        weights, _ = _solved([column * importance for column in columns], cost * importance)
        errors = np.abs(np.stack(columns, 1) @ weights - cost)
        importance = 1 / np.sqrt(np.maximum(errors, _SMALL))
    return weights


def _solved(columns: Sequence[np.ndarray], cost: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights, none below 0, and the sum of squares that they leave."""
    units = np.array([column.max() or 1.0 for column in columns])
    matrix = np.stack(columns, 1) / units
    found, rest = nnls(matrix, cost)
    return found / units, rest**2


def write_table(boards: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Writes the table of all boards."""
    lines = [_HEAD]
    for board, kinds in boards.items():
        for kind, measures in kinds.items():
            lines.append(f'[{RUNTIME}.{board}."{kind}"]')
            lines.append(f"most = {measures['most']}")
            for measure in MEASURES:
                shown = ", ".join(
                    f"{name} = {value:g}" for name, value in measures[measure].items()
                )
                lines.append(f"{measure} = {{ {shown} }}" if shown else f"{measure} = {{}}")
            lines.append("")
    TABLE.write_text("\n".join(lines))


def sums(model: Path, table: Mapping[str, Mapping[str, Any]]) -> dict[int | None, dict[str, float]]:
    """What the table says of each length's graph; raises KeyError for a kind that it lacks."""
    facts = read_model(model)
    found: dict[int | None, dict[str, float]] = {}
    for signature in facts.signatures:
        graph = facts.subgraphs[signature.subgraph]
        length = length_of(graph, signature)
        total = dict.fromkeys(MEASURES, 0.0)
        for operator in graph.operators:
            if runs_each_time(operator, graph):
                sizes, weights = sizes_of(operator, graph), table[kind_of(operator, graph)]
                for measure in MEASURES:
                    total[measure] += weighted(sizes, weights[measure]) / 1e6
        found[length] = total
    return found


def check(board: str, model: Path, lengths: Sequence[int]) -> None:
    """Prints what whole graphs take under emulation, of texts those of these lengths, what the table
    says, and by how much it errs: of each measure in millions, and in milliseconds."""
    manifest = read_bundle(model).manifest
    if manifest.image is not None:
        lengths = sorted(manifest.signatures.values())
    program = [str(ROOT / "tests/arm/invoke.py"), RUNTIME, str(model), "1", *map(str, lengths)]
    works, _ = emulate(board, program, Core(board, HOME))
    said, price = sums(model, read_table(board)), prices(board)
    for length, work in zip(lengths, works, strict=True):
        key = length if manifest.image is None else None
        pairs = {name: (getattr(work, name), said[key][name]) for name in MEASURES}
        whole, summed = (
            1e6 * sum(price[name] * pair[side] for name, pair in pairs.items()) for side in (0, 1)
        )
        shown = [
            f"{name} {true:.4g} {found:.4g} {100 * (found / true - 1):+.1f} %"
            for name, (true, found) in {**pairs, "ms": (whole, summed)}.items()
        ]
        print("\t".join((board, model.name, str(length), *shown)), flush=True)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--board", action="append", choices=list(CORES))
    parser.add_argument("--check", action="store_true", help="compare whole models, count nothing")
    parser.add_argument("--anew", action="store_true", help="also kinds that the table has")
    parser.add_argument("--kind", action="append", default=[], help="also this one")
    given = parser.parse_args()
    boards = given.board or list(CORES)
    for board in boards:
        for model in given.models:
            if given.check:
                check(board, model, _OWN)
            else:
                count(board, model, _wanted(board, given.anew, given.kind))
    if not given.check:
        kept = {name: {} if given.anew else read_table(name) for name in CORES}
        new = {name: fit(read_counts(counts_of(name))) for name in CORES}
        write_table({name: dict(sorted({**kept[name], **new[name]}.items())) for name in CORES})
    return 0


if __name__ == "__main__":
    sys.exit(main())
