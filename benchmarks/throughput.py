"""`python -m benchmarks.throughput`: how many texts a second embedders embed that are given many."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.peers.encode_all import BACKENDS, TFEDGE
from tfedge.cli import run
from tfedge.data.hub import read_data
from tfedge.errors import MissingPackageError, RejectedModelError
from tfedge.models.hub import resolve
from tfedge.progress import ProgressBar
from tfedge.show.table import Column, number, table
from tfedge.show.text import text as drawn

REFERENCE = "torch"  # float32, by whose vectors all are judged
PYTHON = ".venv-throughput/bin/python"
ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Who embeds: a backend of `benchmarks.peers.encode_all`, its model, and a Python that has it."""

    name: str
    backend: str
    model: Path
    python: str


@dataclasses.dataclass(frozen=True)
class Throughput:
    """What came out of one, by the median round."""

    name: str
    texts_per_second: float
    least: float  # texts a second, of the slowest round
    most: float
    mean_cosine: float  # to `REFERENCE`
    least_cosine: float


class Running:
    """A program that embeds the same texts whenever it is asked to; a context manager."""

    def __init__(self, encoder: Encoder, texts: Sequence[str], threads: int, folder: Path) -> None:
        """Raises MissingPackageError, RejectedModelError where it does not come that far.

        Args:
            folder: for its log and its vectors.
        """
        self.encoder = encoder
        self._log = (folder / f"{len(list(folder.iterdir()))}.log").open("w+")
        vectors = Path(self._log.name).with_suffix(".npy")
        command = [encoder.python, "-m", "benchmarks.peers.encode_all", encoder.backend]
        self._process = subprocess.Popen(
            [*command, str(encoder.model), "--threads", str(threads)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._ask(json.dumps({"texts": list(texts), "vectors": str(vectors)}))
        self.vectors: np.ndarray = np.load(vectors)  # float32 (n, width)
        self.seconds: list[float] = []

    def time(self) -> None:
        """One more round."""
        self.seconds.append(self._ask("")["seconds"])

    def _ask(self, line: str) -> dict[str, float]:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # its answer is missing, too
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        for told in self._process.stdout:  # libraries print there, too
            if told.startswith("{"):
                found: dict[str, float] = json.loads(told)
                return found
        self._log.seek(0)
        said = (self._log.read().strip().splitlines() or ["it said nothing"])[-1]
        kind = MissingPackageError if self._process.wait() == 4 else RejectedModelError
        raise kind(f"{self.encoder.name}: {said}; make .venv-throughput/.done has what it needs")

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


def measure(
    encoders: Sequence[Encoder], texts: Sequence[str], threads: int, rounds: int
) -> list[Throughput]:
    """The encoders in turns, so that what slows the machine for a while slows all of them; the first
    is `REFERENCE`. Raises as `Running`."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        running = []
        with ProgressBar("embedding for the first time", len(encoders)) as bar:
            for encoder in encoders:
                made = Running(encoder, texts, threads, Path(name))
                running.append(stack.enter_context(made))
                bar.advance(1)
        with ProgressBar("embedding in turns", rounds * len(running)) as bar:
            for _ in range(rounds):
                for each in running:
                    each.time()
                    bar.advance(1)
        return [_figures(each, running[0].vectors, len(texts)) for each in running]


def _figures(found: Running, reference: np.ndarray, count: int) -> Throughput:
    sides = [
        side / np.linalg.norm(side, axis=1, keepdims=True) for side in (found.vectors, reference)
    ]
    cosines = (sides[0] * sides[1]).sum(1)
    speeds = count / np.array(found.seconds)
    numbers = np.median(speeds), speeds.min(), speeds.max(), cosines.mean(), cosines.min()
    return Throughput(found.encoder.name, *map(float, numbers))


@contextlib.contextmanager
def _encoders(models: Sequence[Path], checkpoint: Path, python: str) -> Iterator[list[Encoder]]:
    """All; what tools make of the checkpoint is made in copies of it."""
    with tempfile.TemporaryDirectory() as folder:
        theirs = []
        for backend in BACKENDS:
            shutil.copytree(checkpoint, Path(folder) / backend)
            name = f"sentence-transformers, {backend}"
            theirs.append(Encoder(name, backend, Path(folder) / backend, python))
        yield theirs + [
            Encoder(path.stem, TFEDGE, path.resolve(), sys.executable) for path in models
        ]


def _texts(names: Sequence[str]) -> list[str]:
    """The texts of files, of pairs both."""
    items = [item for name in names for item in read_data(name, "test", may_lack_labels=True).texts]
    return [text for item in items for text in ([item] if isinstance(item, str) else item)]


def summary(found: Sequence[Throughput]) -> str:
    """A table, the fastest first."""
    rows = sorted(found, key=lambda one: -one.texts_per_second)
    columns = [
        Column[Throughput]("embedder", lambda one: one.name),
        number("texts a second", lambda one: f"{one.texts_per_second:.0f}"),
        number("slowest, fastest round", lambda one: f"{one.least:.0f}-{one.most:.0f}"),
        number("cosine to float, mean", lambda one: f"{one.mean_cosine:.4f}"),
        number("least", lambda one: f"{one.least_cosine:.4f}"),
    ]
    return drawn([table(columns, rows)])


@click.command(context_settings={"show_default": True})
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--checkpoint", required=True, help="What MODELS were converted from.")
@click.option("--data", required=True, multiple=True, help="A file of texts, or of pairs of them.")
@click.option("--threads", default=1, type=click.IntRange(1, 64), help="Of each.")
@click.option("--rounds", default=5, type=click.IntRange(1, 1000), help="The median counts.")
@click.option("--limit", type=click.IntRange(1), help="Use only the first N texts.")
@click.option("--peer-python", default=PYTHON, help="Python with sentence-transformers.")
@click.option("--json", "prints_json", is_flag=True, help="Print one JSON object.")
def main(
    models: tuple[Path, ...],
    checkpoint: str,
    peer_python: str,
    prints_json: bool,
    **settings: Any,
) -> None:
    """Compares how many texts a second embedders embed, given all of them at once.

    Beside MODELS, on LiteRT, those that sentence-transformers makes of --checkpoint: torch, ONNX
    Runtime with and without its 8 bits, OpenVINO. Each runs in a process of its own and embeds the
    same texts, in turns.

    python -m benchmarks.throughput minilm_dynamic.tflite --checkpoint minilm --data sick/test.tsv
    """
    texts = _texts(settings["data"])[: settings["limit"]]
    threads, rounds = settings["threads"], settings["rounds"]
    with _encoders(models, resolve(checkpoint).folder, peer_python) as encoders:
        found = measure(encoders, texts, threads, rounds)
    if prints_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
    else:
        click.echo(f"{len(texts):,} texts, {threads} thread{'s' * (threads > 1)}")
        click.echo(summary(found))


if __name__ == "__main__":
    run(main, "python -m benchmarks.throughput")
