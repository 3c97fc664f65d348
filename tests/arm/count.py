"""Counts the instructions that boards execute for one inference: `python tests/arm/count.py MODEL...`.

A count is the same for the same model, wheel and board. It is not time, but it ranks kernels as a
board would, on a machine that is busy or of another kind. With --peers the peers of `python -m
benchmarks` that run on the boards are counted beside the models, on the same weights and numbers of
tokens.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BOARDS = ("rpi4", "rpi5", "jetson-nano")
RUN = ROOT / "tests/arm/run"
_RUNS = 1  # after one to warm up; a second one counts the same
_SECONDS = 7200  # BERT-base on a machine that does much else
_MARK = re.compile(r"^MARK (\d+)$", re.MULTILINE)
_COUNT = re.compile(r"(MARK|INSNS) \d+$")
# Hashes that change and threads that wait for each other would count as well.
REPEATABLE = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}


@dataclasses.dataclass(frozen=True)
class Count:
    """What one inference costs on a board.

    Attributes:
        minsn: million instructions, without the start; None where it failed.
        error: why.
    """

    board: str
    runtime: str
    model: str
    tokens: int
    minsn: float | None
    error: str | None = None


def per_inference(
    emulator: Path,
    board: str,
    engine: str,
    model: Path,
    lengths: Sequence[int],
    site: Path | None = None,
) -> dict[int, float]:
    """Million instructions of one run for each number of tokens, without start and first run.

    Args:
        engine: a runtime, for a model of tfedge, or that of a peer's, see `invoke.py`.
        site: a folder with further packages for the board.

    Raises:
        RuntimeError: it fails, the message is its last line, or never ends.
    """
    paths = [str(ROOT), *([str(site)] if site else [])]
    program = [str(ROOT / "tests/arm/invoke.py"), engine, str(model), str(_RUNS)]
    try:
        done = subprocess.run(
            [str(emulator), board, *program, *map(str, lengths)],
            env={**os.environ, **REPEATABLE, "ARM_PATH": os.pathsep.join(paths), "ARM_COUNT": "1"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"it took longer than {_SECONDS} s") from error
    if done.returncode:
        raise RuntimeError(reason_of(done))
    marks = marks_of(done.stderr)
    if len(marks) != 2 * len(lengths):
        raise RuntimeError(f"{emulator} counts without marks; those of tests/arm/run have them")
    counts = zip(marks[::2], marks[1::2], strict=True)
    return {
        length: (after - before) / _RUNS / 1e6
        for length, (before, after) in zip(lengths, counts, strict=True)
    }


def marks_of(said: str) -> list[int]:
    """The instructions up to each mark, as the plugin tells them."""
    return [int(found[1]) for found in _MARK.finditer(said)]


def reason_of(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a program which failed has printed, without those of the plugin."""
    said = [line for line in done.stderr.splitlines() if not _COUNT.match(line)]
    return said[-1] if said else f"exit code {done.returncode}"


def count_model(
    model: Path, boards: Iterable[str], runtimes: Sequence[str], tokens: Sequence[int], run: Path
) -> Iterator[Count]:
    """Counts the graphs of a converted model.

    Args:
        runtimes: none for those that the model allows.
        tokens: lengths of graphs; none for all that it has.
        run: the emulator's script, `tests/arm/run`.
    """
    from tfedge.runtime.bundle import read_bundle

    manifest = read_bundle(model).manifest
    lengths = sorted(manifest.signatures.values())
    for board in boards:
        for runtime in runtimes or manifest.runtimes:
            wanted = [length for length in lengths if not tokens or length in tokens]
            yield from count_lengths(run, board, runtime, model, wanted)


def count_lengths(
    run: Path,
    board: str,
    engine: str,
    model: Path,
    lengths: Sequence[int],
    site: Path | None = None,
    name: str | None = None,
) -> Iterator[Count]:
    """Counts one model with one runtime, see `per_inference`; `name` where it is not the file's."""
    try:
        counts = per_inference(run, board, engine, model, lengths, site)
    except RuntimeError as error:
        yield from (
            Count(board, engine, name or model.name, length, None, str(error)) for length in lengths
        )
    else:
        yield from (
            Count(board, engine, name or model.name, length, minsn)
            for length, minsn in counts.items()
        )


def table(counts: Sequence[Count]) -> list[str]:
    """For each board a table: a row for who runs in what, a column for a number of tokens, in million
    instructions, the fewest at the longest first; empty where it was not counted."""
    lines = []
    for board in dict.fromkeys(count.board for count in counts):
        here = [count for count in counts if count.board == board]
        tokens = sorted({count.tokens for count in here})
        rows: dict[str, dict[int, float]] = {}
        for count in here:
            if count.minsn is not None:
                rows.setdefault(f"{count.model}, {count.runtime}", {})[count.tokens] = count.minsn
        lines.append("\t".join([f"{board}, tokens:", *map(str, tokens)]))
        for name, row in sorted(rows.items(), key=lambda item: _from_longest(item[1], tokens)):
            cells = [f"{row[length]:.1f}" if length in row else "" for length in tokens]
            lines.append("\t".join([name, *cells]))
    return lines


def _from_longest(row: Mapping[int, float], tokens: Sequence[int]) -> list[float]:
    return [row.get(length, float("inf")) for length in reversed(tokens)]


def _row(count: Count) -> str:
    minsn = f"failed: {count.error}" if count.minsn is None else f"{count.minsn:.1f}"
    return "\t".join((count.board, count.runtime, count.model, str(count.tokens), minsn))


def _counts(given: argparse.Namespace) -> Iterator[Count]:
    boards = given.board or BOARDS
    for model in given.models:
        yield from count_model(
            model, boards, given.runtime or (), given.tokens or (), given.emulator
        )
    if given.peers:
        from count_peers import count_peers

        yield from count_peers(given, boards)


def main() -> int:
    """The program; returns 1 where a count fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--board", action="append", choices=BOARDS)
    parser.add_argument("--runtime", action="append", choices=("tflite-runtime", "litert"))
    parser.add_argument("--tokens", action="append", type=int, help="default: every graph")
    parser.add_argument("--emulator", type=Path, default=RUN)
    parser.add_argument(
        "--peers", action="store_true", help="count the peers of `python -m benchmarks` too"
    )
    parser.add_argument(
        "--peer", action="append", help="with --peers only this one; may be repeated"
    )
    parser.add_argument("--checkpoint", help="what the first model was converted from; for --peers")
    parser.add_argument("--peer-python", help="default: that of .venv-bench")
    parser.add_argument("--json", type=Path, help="write the counts to this file too")
    given = parser.parse_args()
    counts: list[Count] = []
    print("board\truntime\tmodel\ttokens\tMinsn")
    for count in _counts(given):
        counts.append(count)
        print(_row(count), flush=True)
    if len(counts) > 1:
        print("\n".join(table(counts)))
    if given.json:
        content: dict[str, Any] = {"counts": [dataclasses.asdict(count) for count in counts]}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(content, indent=2) + "\n")
    return int(any(count.minsn is None for count in counts))


if __name__ == "__main__":
    sys.exit(main())
