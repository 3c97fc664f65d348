"""Models are measured on a board as they are here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders
import toy_images
from bars import Bars
from server import Server

from tfedge.boards import agent, errors
from tfedge.boards.remote import Remote
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.data.texts import Texts
from tfedge.errors import MissingPackageError, RejectedModelError
from tfedge.inspect.report import InspectOptions, inspect
from tfedge.measure.board import Board
from tfedge.measure.race import BenchOptions, bench
from tfedge.records import as_json

TEXTS = ["a good film", "awful", "", "dull\nfilm"]
Named = Callable[[str], Remote]


def test_answers(ready: Server, remote: Named, toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as here, also of a model whose path is relative."""
    monkeypatch.chdir(toys)
    path = Path("classifier.tflite")
    progress: list[int] = []
    there = Board(remote=remote("shed"), threads=1).answers(path, TEXTS, progress.append)
    assert there == Board(threads=1).answers(path, TEXTS)
    assert progress == [1] * 4


def test_outputs(ready: Server, remote: Named, toys: Path) -> None:
    shed = remote("shed")
    ids = np.zeros((2, 16), np.int32)
    inputs = {"input_ids": ids, "attention_mask": ids + 1, "token_type_ids": ids}
    runtime = shed.chosen(None, ["litert", "tflite-runtime"])
    board = Board(remote=shed, runtime=runtime)
    progress: list[int] = []
    found = board.outputs(toys / "embedder.tflite", inputs, progress.append)
    expected = Board(runtime=runtime).outputs(toys / "embedder.tflite", inputs)
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])
    assert sum(progress) == 2


def test_a_refusal_names_the_file_here(ready: Server, remote: Named, tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"\0" * 100)
    ids = np.zeros((1, 16), np.int32)
    with pytest.raises(RejectedModelError, match=rf"^{path}: .* does not run it: .*{path}: "):
        Board(remote=remote("shed")).outputs(path, {"input_ids": ids})


def test_bench(ready: Server, remote: Named, toys: Path) -> None:
    texts = Texts(["a good film", "awful"], ["1", "0"], "toy.tsv")
    models = [str(toys / "buckets.tflite@16"), str(toys / "classifier.tflite")]
    found = bench(models, texts, BenchOptions((), (1,), 2), Bars(), remote("shed"))
    rows: list[dict[str, Any]] = as_json(found)["contestants"]
    assert [row["name"] for row in rows] == models
    assert [row["accuracy"] for row in rows] == [1.0, 1.0]
    assert found.machine.processors > 0


def test_inspect_time(ready: Server, remote: Named, toys: Path) -> None:
    options = InspectOptions(time_rounds=3, remote=remote("shed"))
    found = inspect(toys / "classifier.tflite", options, Bars())
    assert found.timing is not None
    assert found.timing.runtime == remote("shed").facts["runtimes"][0]
    assert found.timing.total_s > 0


def test_conversion_is_judged_there(ready: Server, tmp_path: Path) -> None:
    """By nothing but the board's runtime."""
    toy_folders.write_folder(tmp_path / "toy")
    options = ConvertOptions("dynamic", buckets=(), max_drop=100.0, output=tmp_path / "out")
    options = dataclasses.replace(options, board="shed", evaluation_limit=12)
    report = convert(str(tmp_path / "toy"), options, Bars())
    assert list(report.evaluation.runtimes) == Remote.named("shed", Bars()).facts["runtimes"]
    assert report.options["board"] == "shed"


def test_images(ready: Server, remote: Named, tmp_path: Path) -> None:
    """They are sent, and may have blanks in their names."""
    pytest.importorskip("PIL")
    source = toy_images.write_folder(tmp_path / "deit")
    images = toy_images.write_images(tmp_path / "some images", 18)
    made = {"evaluation": str(images), "calibration": str(images), "output": tmp_path / "out"}
    options = ConvertOptions("float32", board="shed", max_drop=100.0, **made)
    report = convert(str(source), options, Bars())
    items = [str(path) for path in sorted(images.rglob("*.png"))]
    there = Board(remote=remote("shed"), threads=1).answers(report.path, items)
    here = Board(threads=1).answers(report.path, items)
    assert [answer["label"] for answer in there] == [answer["label"] for answer in here]


def test_a_runtime_that_is_not_there(
    ready: Server, remote: Named, toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how the board gets it, before anything is sent."""
    monkeypatch.setattr(Remote, "facts", {**remote("shed").facts, "runtimes": []})
    model = toys / "classifier.tflite"
    words = r"^shed has not (\S+), but none: `tfedge board setup shed --runtime \1` brings it$"
    with pytest.raises(MissingPackageError, match=words):
        Board(remote=remote("shed")).answers(model, ["good"])
    texts = Texts(["a good film"], None, "toy.tsv")
    with pytest.raises(MissingPackageError, match=words):
        bench([str(model)], texts, BenchOptions((), (1,), 1), Bars(), remote("shed"))


def test_a_connection_that_breaks_is_not_the_models_fault(
    ready: Server, remote: Named, toys: Path
) -> None:
    def cut(count: int) -> None:
        ready.cut()

    board = Board(remote=remote("shed"), threads=1)
    with pytest.raises(errors.ConnectionLostError):
        board.answers(toys / "classifier.tflite", ["a good film"] * 5000, cut)


def test_a_crash_is(ready: Server, remote: Named, toys: Path) -> None:
    """Of which ssh itself would say nothing."""
    python = ready.homes["shed"] / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -m ] && kill -SEGV $$\nexec {agent.PYTHON} "$@"\n')
    python.chmod(0o755)
    entry = dataclasses.replace(remote("shed").entry, python="./python")
    board, model = Board(remote=Remote(entry, Bars())), toys / "classifier.tflite"
    with pytest.raises(RejectedModelError, match=rf"^{model}: .* crashed running it \(SIGSEGV\)$"):
        board.answers(model, ["good"])
