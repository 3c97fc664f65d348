"""Counts the instructions of whole answers on boards: `python tests/arm/answers.py MODEL --data FILE`.

From the bytes of a line to those of an answer in JSON, one thread: the tokeniser, Python and the graph,
which `tests/arm/count.py` counts alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from count import BOARDS, REPEATABLE, ROOT, RUN, marks_of, reason_of

from tfedge.data.hub import read_data
from tfedge.runtime.bundle import Bundle, read_bundle
from tfedge.runtime.tokenizer import TextEncoder

_SECONDS = 7200
_MARKS = 4  # of an answer


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one answer took, in million instructions, by the graph of `tokens`."""

    tokens: int
    whole: float
    graph: float


def count_answers(
    emulator: Path, board: str, runtime: str, model: Path, texts: Sequence[str]
) -> list[Answer]:
    """Runs the texts on an emulated board; raises RuntimeError where that fails."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(texts) + "\n")
        file.flush()
        program = [ROOT / "tests/arm/invoke_answers.py", runtime, model, file.name]
        done = subprocess.run(
            list(map(str, [emulator, board, *program])),
            env={**os.environ, **REPEATABLE, "ARM_PATH": str(ROOT), "ARM_COUNT": "1"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    marks = marks_of(done.stderr)
    if done.returncode or len(marks) != _MARKS * len(texts):
        raise RuntimeError(reason_of(done))
    return [
        Answer(tokens, (end - begin) / 1e6, (ran - started) / 1e6)
        for tokens, (begin, started, ran, end) in zip(
            _graphs(read_bundle(model), texts),
            zip(*(marks[which::_MARKS] for which in range(_MARKS)), strict=True),
            strict=True,
        )
    ]


def _graphs(bundle: Bundle, texts: Iterable[str]) -> Iterator[int]:
    """The tokens of the graph that answers each text."""
    lengths = sorted(bundle.manifest.signatures.values())
    encoder = TextEncoder(bundle.tokenizer_json, bundle.manifest.max_length)
    for text in texts:
        yield next(length for length in lengths if length >= len(encoder.encode(text)))


def table(answers: Sequence[Answer]) -> Iterator[str]:
    """A line a graph and one of all: means, and the share of the answer that is not the graph."""
    by_tokens: dict[str, list[Answer]] = defaultdict(list)
    for answer in sorted(answers, key=lambda one: one.tokens):
        by_tokens[str(answer.tokens)].append(answer)
    for tokens, found in [*by_tokens.items(), ("all", answers)]:
        whole, graph = (
            sum(getattr(one, part) for one in found) / len(found) for part in ("whole", "graph")
        )
        shown = (f"{whole:.2f}", f"{graph:.2f}", f"{100 * (1 - graph / whole):.1f} %")
        yield "\t".join((tokens, str(len(found)), *shown))


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True, help="a file of texts")
    parser.add_argument("--limit", type=int, default=40, help="texts, the first of them")
    parser.add_argument("--board", action="append", choices=BOARDS)
    parser.add_argument("--runtime", default="litert")
    parser.add_argument("--emulator", type=Path, default=RUN)
    given = parser.parse_args()
    texts = [str(text) for text in read_data(given.data, "train").texts[: given.limit]]
    print("board\ttokens\ttexts\tMinsn an answer\tof the graph\tbeside it")
    for board in given.board or BOARDS:
        try:
            found = count_answers(given.emulator, board, given.runtime, given.model, texts)
        except RuntimeError as error:
            print(f"{board}: {error}", file=sys.stderr)
            return 1
        for line in table(found):
            print(f"{board}\t{line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
