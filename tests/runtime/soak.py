"""Streams very many texts through one `tfedge-infer` process: `python tests/runtime/soak.py --help`.

What is to hold: each line has its answer, in order; the memory does not grow; the stream is about as
fast as what `--benchmark` measures on the same texts, before and after it. With `--hostile` some
lines are such as a fault or an attack would send (hostile_lines.py): each has an answer or an error
in its place, too, and only the speed is not compared. A million lines are a day of one every 86 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from hostile_lines import Line, spread
from program import COMMAND, ROOT, environment

from tfedge.data.texts import read_texts
from tfedge.progress import ProgressBar

FIRST = 1000  # answers after which the memory is what it stays
FIRST_HOSTILE = 300  # hostile lines after which it is, too: each kind has come a few times
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
        ended: how the process ended, where it did not end well.
    """

    lines: int
    answers: int
    misplaced: int
    first_bytes: int
    most_bytes: int
    texts_per_s: float
    benchmarks: tuple[float, float]
    ended: str | None = None

    @property
    def growth(self) -> float:
        return self.most_bytes / self.first_bytes - 1 if self.first_bytes else 0.0

    @property
    def ratio(self) -> float:
        """The speed of the stream to that of the benchmarks."""
        return self.texts_per_s / (sum(self.benchmarks) / len(self.benchmarks))

    def failures(self, min_ratio: float = MIN_RATIO) -> list[str]:
        """What does not hold."""
        found = [self.ended] if self.ended else []
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


def plain(texts: Sequence[str]) -> list[Line]:
    """Lines that have these texts, and their numbers as ids."""
    return [Line({"id": number, "text": text}) for number, text in enumerate(texts)]


def soak(
    options: Sequence[str],
    lines: Sequence[Line],
    first: int = FIRST,
    progress: Callable[[int], None] = lambda count: None,
    address_mb: int | None = None,
) -> Soak:
    """Streams `lines`.

    Args:
        options: of `tfedge-infer`, the model among them.
        first: answers after which the memory is to stay.
        address_mb: address space that the process may have, as `ulimit -v` limits it.
    """
    texts = [line.text for line in lines if line.text is not None]
    sample = random.Random(0).sample(texts, min(_BENCHMARK_TEXTS, len(texts)))
    before = _benchmark(options, sample)
    misplaced = count = most = first_bytes = 0
    begin = end = 0.0
    with tempfile.TemporaryFile() as errors:
        process = _start(options, errors, address_mb)
        assert process.stdin is not None and process.stdout is not None
        writer = threading.Thread(target=_write, args=(process, lines))
        writer.start()
        for count, answer in enumerate(process.stdout, 1):
            end = time.perf_counter()
            begin = begin or end
            misplaced += count > len(lines) or not lines[count - 1].is_answered_by(answer)
            if count == first:
                first_bytes = most = _resident(process.pid)
            elif first_bytes and (count % _SAMPLE_EVERY == 0 or count == len(lines)):
                most = max(most, _resident(process.pid))
            progress(1)
        writer.join()
        process.stdout.close()
        code = process.wait()
        said = _last(errors)
    return Soak(
        lines=len(lines),
        answers=count,
        misplaced=misplaced,
        first_bytes=first_bytes,
        most_bytes=most,
        texts_per_s=(count - 1) / (end - begin) if count > 1 else 0.0,
        benchmarks=(before, _benchmark(options, sample)),
        ended=None if code in (0, 1) else f"it ended with {code}: {said}",
    )


def _start(
    options: Sequence[str], errors: IO[bytes], address_mb: int | None
) -> subprocess.Popen[bytes]:
    def limit() -> None:
        if address_mb is not None:
            resource.setrlimit(resource.RLIMIT_AS, (address_mb << 20, address_mb << 20))

    return subprocess.Popen(
        [*COMMAND, *options, "--json", "--jsonl"],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        preexec_fn=limit,
    )


def _last(errors: IO[bytes]) -> str:
    """The last line of a file, of which only the end is read."""
    errors.seek(max(errors.seek(0, 2) - 2000, 0))
    return errors.read().decode(errors="replace").strip().rpartition("\n")[2]


def _write(process: subprocess.Popen[bytes], lines: Sequence[Line]) -> None:
    assert process.stdin is not None
    # A process that ended early has fewer answers, which is what is reported.
    with contextlib.suppress(BrokenPipeError), process.stdin as sink:
        for line in lines:
            sink.write(line.sent + b"\n")


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--data", action="append", help="files of texts (default: the package's)")
    parser.add_argument("--runtime", action="append", help="both, where it is given twice")
    parser.add_argument("--threads", default="1")
    parser.add_argument(
        "--hostile", type=int, default=0, help="every N-th line is hostile; 0: none"
    )
    parser.add_argument("--address-mb", type=int, help="address space, as `ulimit -v` limits it")
    return parser


def _told(result: Soak, first: int) -> str:
    return (
        f"answers   {result.answers} to {result.lines} lines, {result.misplaced} misplaced\n"
        f"memory    {result.first_bytes / 1e6:.1f} MB after {first} answers,"
        f" at most {result.most_bytes / 1e6:.1f} MB later ({result.growth:+.1%})\n"
        f"speed     {result.texts_per_s:.1f} texts/s, {result.ratio:.2f} of --benchmark"
        f" ({result.benchmarks[0]:.1f} before, {result.benchmarks[1]:.1f} after)"
    )


def main() -> int:
    """The program; returns 1 where something does not hold."""
    parser = _parser()
    given = parser.parse_args()
    first = max(FIRST, FIRST_HOSTILE * given.hostile)
    if given.lines <= first:
        parser.error(f"--lines {given.lines}: more than the first {first} are needed")
    files = given.data or [ROOT / "tfedge/data/sentences.tsv"]
    sentences = [text for file in files for text in read_texts(file).texts]
    lines = spread(plain(list(mixed(sentences, given.lines))), given.hostile)
    min_ratio = 0.0 if given.hostile else MIN_RATIO
    code = 0
    for runtime in given.runtime or [None]:
        options = ["--model", given.model, "--threads", given.threads]
        options += ["--runtime", runtime] if runtime else []
        with ProgressBar("texts", len(lines)) as bar:
            result = soak(options, lines, first, bar.advance, given.address_mb)
        print(_told(result, first) if runtime is None else f"{runtime}\n{_told(result, first)}")
        for failure in result.failures(min_ratio):
            print(f"soak: {failure}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
