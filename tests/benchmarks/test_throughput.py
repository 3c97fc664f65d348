"""`python -m benchmarks.throughput`, without the environment of the others."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import throughput
from benchmarks.peers.encode_all import TFEDGE
from benchmarks.throughput import Encoder, Throughput, measure, summary
from tfedge.errors import MissingPackageError, RejectedModelError

TEXTS = ["a good film", "a bad film", "Ada was good"]


def test_two_of_one_file(toys: Path) -> None:
    encoders = [Encoder(name, TFEDGE, toys / "embedder.tflite", sys.executable) for name in "ab"]
    found = measure(encoders, TEXTS, threads=1, rounds=3)
    assert [one.name for one in found] == ["a", "b"]
    for one in found:
        assert (one.mean_cosine, one.least_cosine) == pytest.approx((1, 1))
        assert 0 < one.least <= one.texts_per_second <= one.most


def test_what_does_not_start_is_named(toys: Path, tmp_path: Path) -> None:
    lacking = Encoder("theirs", "onnx", tmp_path, sys.executable)
    with pytest.raises(MissingPackageError, match=r"^theirs: .* is not installed; make .venv-thr"):
        measure([lacking], TEXTS, 1, 1)
    broken = Encoder("ours", TFEDGE, toys / "classifier.tflite", sys.executable)
    with pytest.raises(RejectedModelError, match=r"^ours: .*makes no embeddings"):
        measure([broken], TEXTS, 1, 1)


def test_the_command(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is embedded are both texts of pairs; the others' turns are ours here."""
    monkeypatch.setattr(throughput, "BACKENDS", [TFEDGE])
    monkeypatch.setattr(throughput.shutil, "copytree", lambda source, to: to.symlink_to(source))
    monkeypatch.setattr(throughput, "resolve", lambda name: Source(Path(name)))
    data = tmp_path / "pairs.tsv"
    data.write_text("text\ttext_pair\na\tb\nc\td\n")
    model = str(toys / "embedder.tflite")
    given = ["--checkpoint", model, "--data", str(data), "--peer-python", sys.executable]
    done = CliRunner().invoke(throughput.main, [model, *given, "--rounds", "1"])
    assert done.exit_code == 0, done.output
    assert "4 texts, 1 thread\n" in done.output
    done = CliRunner().invoke(throughput.main, [model, *given, "--rounds", "1", "--json"])
    (_, ours) = json.loads(done.stdout)
    assert ours["name"] == "embedder" and ours["least_cosine"] == pytest.approx(1)


class Source:
    """What a checkpoint resolves to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


def test_the_fastest_comes_first() -> None:
    told = summary(
        [Throughput("late", 1, 1, 1, 1, 1), Throughput("early", 20, 18, 21, 0.99871, 0.9)]
    )
    assert told.index("early") < told.index("late")
    assert "18-21" in told and "0.9987" in told
