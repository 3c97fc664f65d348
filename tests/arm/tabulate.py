"""Makes the table of what operators cost on boards: `python tests/arm/tabulate.py MODEL...`.

Counts the operators of converted models one by one, in their own widths and in others, and fits for
each kind of operator a sum over its sizes. What is counted is kept in a file, so that a second call
counts only what is new. `--check` compares whole models under emulation with their operators' sum.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from count_operators import ROOT, count_files, emulate
from cycles import CORES, Core, Work
from operators import Alone, Widths, take_apart
from scipy.optimize import nnls

from tfedge.inspect.graph import read_model
from tfedge.inspect.work import kind_of, runs_each_time, sizes_of, weighted

HOME = ROOT / "build/arm"
TABLE = ROOT / "tfedge/inspect/operators.toml"
RUNTIME = "litert"
MEASURES = tuple(field.name for field in dataclasses.fields(Work))
# The widths of the encoders that models are converted from, and at which lengths tinybert's operators
# are counted in each.
WIDTHS = {
    "tinybert": Widths(312, 1200, 12, 26),
    "minilm": Widths(384, 1536, 12, 32),
    "base": Widths(768, 3072, 12, 64),
}
GRID = {"tinybert": (16, 48, 128), "minilm": (16, 128), "base": (16, 128)}
_OWN = (16, 128)  # lengths of other models, in their own widths
# Errors count relative to what an operator costs and this; in millions, as `Work`.
_LEAST = {"instructions": 0.02, "mca": 0.01, "refills": 2e-4, "lines": 2e-4}
_HEAD = """\
# What operators cost on boards, by runtime and board: for each kind a sum over sizes (see
# tfedge/inspect/work.py), of instructions, cycles by llvm-mca, lines that the first cache lacks, and
# lines from DRAM. Made by tests/arm/tabulate.py; not edited by hand.
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


def count(board: str, model: Path) -> None:
    """Counts the operators of a model that have not been, and adds them to those that have."""
    core, counts = Core(board, HOME), counts_of(board)
    for lengths, changed in _grid(model):
        known = {each.key for each in read_counts(counts)}
        with tempfile.TemporaryDirectory() as folder:
            taken = take_apart(model, lengths, changed, Path(folder))
            new = _not_among(known, taken)
            lines = [_line(*new[path], work) for path, work in count_files(board, list(new), core)]
        with counts.open("a") as file:
            file.writelines(lines)
        print(f"{board}: {model.name} {lengths} {changed}: {len(lines)} operators", flush=True)


def _not_among(known: set[str], taken: Iterable[Alone]) -> dict[Path, tuple[Counted, int]]:
    """Of files those with an operator that is not known yet, what it is and how often it is there."""
    found: dict[Path, tuple[Counted, int]] = {}
    for alone in taken:
        graph = read_model(alone.path).subgraphs[0]
        counted = Counted(alone.kind, sizes_of(graph.operators[0], graph), Work())
        if counted.key not in known:
            known.add(counted.key)
            found[alone.path] = counted, alone.copies
    return found


def _line(counted: Counted, copies: int, work: Work) -> str:
    each = [value / copies for value in dataclasses.astuple(work)]
    return json.dumps((counted.kind, counted.sizes, each)) + "\n"


def fit(counts: Sequence[Counted]) -> dict[str, dict[str, dict[str, float]]]:
    """For each kind and measure the weights of its sizes, none below 0, in millionths."""
    kinds: dict[str, list[Counted]] = defaultdict(list)
    for each in counts:
        kinds[each.kind].append(each)
    return {
        kind: {measure: _weights(found, measure) for measure in MEASURES}
        for kind, found in sorted(kinds.items())
    }


def _weights(counts: Sequence[Counted], measure: str) -> dict[str, float]:
    names = list(counts[0].sizes)
    sizes = np.array([[each.sizes[name] for name in names] for each in counts], float)
    cost = np.array([getattr(each.work, measure) for each in counts])
    scale = cost + _LEAST[measure]
    unit = sizes.max(0).clip(1)
    found = nnls(sizes / unit / scale[:, None], cost / scale)[0] / unit * 1e6
    return {name: float(f"{value:.4g}") for name, value in zip(names, found, strict=True) if value}


def write_table(boards: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> None:
    """Writes the table of all boards."""
    lines = [_HEAD]
    for board, kinds in boards.items():
        for kind, measures in kinds.items():
            lines.append(f'[{RUNTIME}.{board}."{kind}"]')
            for measure, weights in measures.items():
                shown = ", ".join(f"{name} = {value:g}" for name, value in weights.items())
                lines.append(f"{measure} = {{ {shown} }}" if shown else f"{measure} = {{}}")
            lines.append("")
    TABLE.write_text("\n".join(lines))


def sums(
    model: Path, table: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> dict[int, dict[str, float]]:
    """What the table says of each length's graph; raises KeyError for a kind that it lacks."""
    facts, found = read_model(model), {}
    for signature in facts.signatures:
        graph = facts.subgraphs[signature.subgraph]
        length = graph.tensors[next(iter(signature.inputs.values()))].shape[1]
        total = dict.fromkeys(MEASURES, 0.0)
        for operator in graph.operators:
            if runs_each_time(operator, graph):
                sizes, weights = sizes_of(operator, graph), table[kind_of(operator, graph)]
                for measure in MEASURES:
                    total[measure] += weighted(sizes, weights[measure]) / 1e6
        found[length] = total
    return found


def check(board: str, model: Path, lengths: Sequence[int]) -> None:
    """Prints what whole graphs take under emulation beside what the table says."""
    program = [str(ROOT / "tests/arm/invoke.py"), RUNTIME, str(model), "1", *map(str, lengths)]
    works, _ = emulate(board, program, Core(board, HOME))
    said = sums(model, fit(read_counts(counts_of(board))))
    for length, work in zip(lengths, works, strict=True):
        shown = [
            f"{measure} {getattr(work, measure):.3f} {said[length][measure]:.3f} "
            f"{100 * (said[length][measure] / getattr(work, measure) - 1):+.1f} %"
            for measure in MEASURES
        ]
        print("\t".join((board, model.name, str(length), *shown)), flush=True)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--board", action="append", choices=list(CORES))
    parser.add_argument("--check", action="store_true", help="compare whole models, count nothing")
    given = parser.parse_args()
    boards = given.board or list(CORES)
    for board in boards:
        for model in given.models:
            if given.check:
                check(board, model, _OWN)
            else:
                count(board, model)
    if not given.check:
        write_table({name: fit(read_counts(counts_of(name))) for name in CORES})
    return 0


if __name__ == "__main__":
    sys.exit(main())
