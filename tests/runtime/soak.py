"""Streams very many texts through one `tfedge-infer` process: `python tests/runtime/soak.py --help`.

What is to hold: each line has its answer, in order; the memory does not grow; the stream is about as
fast as what `--benchmark` measures on the same texts, before and after it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from program import ROOT, environment, start

from tfedge.data.texts import read_texts
from tfedge.progress import ProgressBar

FIRST = 1000  # answers after which the memory is what it stays
MAX_GROWTH = 0.05
MIN_RATIO = 0.9
_BENCHMARK_TEXTS = 500
_SAMPLE_EVERY = 500


@dataclasses.dataclass(frozen=True)
class Soak:
    """What a stream showed.

    Attributes:
        answers: answers that came.
        misplaced: answers that are not those of their lines.
        first_bytes: resident memory after the first answers.
        most_bytes: the most of it that was seen from there to the last one.
        texts_per_s: of the stream, from its first answer to the last.
        benchmarks: texts per second as `--benchmark` says, before and after.
    """

    lines: int
    answers: int
    misplaced: int
    first_bytes: int
    most_bytes: int
    texts_per_s: float
    benchmarks: tuple[float, float]

    @property
    def growth(self) -> float:
        return self.most_bytes / self.first_bytes - 1

    @property
    def ratio(self) -> float:
        """The speed of the stream to that of the benchmarks."""
        return self.texts_per_s / (sum(self.benchmarks) / len(self.benchmarks))

    def failures(self, min_ratio: float = MIN_RATIO) -> list[str]:
        """What does not hold."""
        found = []
        if self.answers != self.lines:
            found.append(f"{self.answers} answers to {self.lines} lines")
        if self.misplaced:
            found.append(f"{self.misplaced} answers are not those of their lines")
        if self.growth > MAX_GROWTH:
            found.append(f"memory grows by {self.growth:.1%}; {MAX_GROWTH:.0%} are allowed")
        if self.ratio < min_ratio:
            found.append(f"{self.ratio:.2f} of the benchmark's speed; {min_ratio} are wanted")
        return found


def mixed(sentences: Sequence[str], count: int, seed: int = 0) -> Iterator[str]:
    """Texts of one sentence, and every fourth of up to eight, so that every graph has its share."""
    rng = random.Random(seed)
    for number in range(count):
        several = rng.randint(2, 8) if number % 4 == 3 else 1
        yield " ".join(rng.choice(sentences) for _ in range(several))


def soak(
    options: Sequence[str],
    texts: Sequence[str],
    first: int = FIRST,
    progress: Callable[[int], None] = lambda count: None,
) -> Soak:
    """Streams `texts`.

    Args:
        options: of `tfedge-infer`, the model among them.
        first: answers after which the memory is to stay.
    """
    sample = random.Random(0).sample(texts, min(_BENCHMARK_TEXTS, len(texts)))
    before = _benchmark(options, sample)
    process = start(*options, "--json", "--jsonl")
    assert process.stdin is not None and process.stdout is not None
    writer = threading.Thread(target=_write, args=(process, texts))
    writer.start()
    misplaced = count = most = first_bytes = 0
    begin = end = 0.0
    for count, line in enumerate(process.stdout, 1):
        end = time.perf_counter()
        begin = begin or end
        misplaced += count > len(texts) or json.loads(line).get("text") != texts[count - 1]
        if count == first:
            first_bytes = most = _resident(process.pid)
        elif first_bytes and (count % _SAMPLE_EVERY == 0 or count == len(texts)):
            most = max(most, _resident(process.pid))
        progress(1)
    writer.join()
    process.stdout.close()
    process.wait()
    return Soak(
        lines=len(texts),
        answers=count,
        misplaced=misplaced,
        first_bytes=first_bytes,
        most_bytes=most,
        texts_per_s=(count - 1) / (end - begin),
        benchmarks=(before, _benchmark(options, sample)),
    )


def _write(process: subprocess.Popen[bytes], texts: Sequence[str]) -> None:
    assert process.stdin is not None
    # A process that ended early has fewer answers, which is what is reported.
    with contextlib.suppress(BrokenPipeError), process.stdin as sink:
        for text in texts:
            sink.write(json.dumps({"text": text}).encode() + b"\n")


def _resident(pid: int) -> int:
    """The memory of a process; 0 where it has just ended, as it may after its last answer."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(
        int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS:")
    )


def _benchmark(options: Sequence[str], texts: Sequence[str]) -> float:
    command = [sys.executable, "-m", "tfedge.runtime.infer", *options]
    command += ["--json", "--benchmark", str(2 * len(texts)), "--", *texts]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout)["texts_per_s"])


def main() -> int:
    """The program; returns 1 where something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--data", action="append", help="files of texts (default: the package's)")
    parser.add_argument("--runtime")
    parser.add_argument("--threads", default="1")
    given = parser.parse_args()
    if given.lines <= FIRST:
        parser.error(f"--lines {given.lines}: more than the first {FIRST} are needed")
    files = given.data or [ROOT / "tfedge/data/sentences.tsv"]
    sentences = [text for file in files for text in read_texts(file).texts]
    options = ["--model", given.model, "--threads", given.threads]
    options += ["--runtime", given.runtime] if given.runtime else []
    texts = list(mixed(sentences, given.lines))
    with ProgressBar("texts", len(texts)) as bar:
        result = soak(options, texts, progress=bar.advance)
    print(
        f"answers   {result.answers} to {result.lines} lines, {result.misplaced} misplaced\n"
        f"memory    {result.first_bytes / 1e6:.1f} MB after {FIRST} answers,"
        f" at most {result.most_bytes / 1e6:.1f} MB later ({result.growth:+.1%})\n"
        f"speed     {result.texts_per_s:.1f} texts/s, {result.ratio:.2f} of --benchmark"
        f" ({result.benchmarks[0]:.1f} before, {result.benchmarks[1]:.1f} after)"
    )
    for failure in result.failures():
        print(f"soak: {failure}", file=sys.stderr)
    return 1 if result.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
