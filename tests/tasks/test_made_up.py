"""A task that only this test knows goes all the way: nothing else asks for its name.

Its module stands in a folder of its own and registers itself there; what runs models in processes of
their own gets it by Python's `sitecustomize`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
import toy_folders
import toys
from bars import Bars
from click.testing import CliRunner
from program import INSTALLED

from tfedge import cli, tasks
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.errors import CheckpointError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config
from tfedge.records import as_json
from tfedge.runtime import tasks as board_tasks

TASK = "rating"
LENGTH = 16


@pytest.fixture(scope="module", autouse=True)
def _known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Makes the task known here and in every Python that is started."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copyfile(Path(__file__).with_name("rating.py"), folder / "rating.py")
    (folder / "sitecustomize.py").write_text("import rating\n")
    with pytest.MonkeyPatch.context() as patch:
        for registry in (tasks._REGISTRY, board_tasks._REGISTRY):
            patch.setattr(registry, "_found", dict(registry._found))
        patch.syspath_prepend(folder)
        before = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), before))))
        __import__("rating")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a BERT with the task's head."""
    folder = tmp_path_factory.mktemp("toy") / "rater"
    keras.utils.set_random_seed(3)
    config = parse_config(toy_folders.config("bert", small=True))
    model = build(config, TASK).model
    for layer in model.layers:
        if layer.name in tasks.find(TASK).modules(config):
            layer.set_weights([layer.get_weights()[0], np.full(2, 0.5)])
    save_checkpoint(model, config, TASK, folder)
    (folder / "tokenizer.json").write_bytes(toys.tokenizer_json())
    return folder


@pytest.fixture(scope="module")
def converted(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """It in int8, and the report."""
    output = tmp_path_factory.mktemp("converted")
    options = ConvertOptions(sequence_length=LENGTH, buckets=(), max_drop=50.0, output=output)
    report: dict[str, Any] = as_json(convert(str(folder), options, Bars()))
    return output / "rater" / report["file"], report


def test_a_checkpoint_is_recognised(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    assert checkpoint.config.source["architectures"] == ["BertForRating"]
    assert tasks.task_and_labels(checkpoint) == (TASK, [])
    named = {name for name in checkpoint.names if "_head" in name}
    assert named == {"rating_head.weight", "rating_head.bias"}


def test_other_tasks_take_the_encoder_without_its_head(folder: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint(folder)
    embedder = build(checkpoint.config, "sentence-embedding").model
    assert load_weights(embedder, checkpoint, "sentence-embedding") == []
    bare = toy_folders.write_folder(tmp_path / "bare", "bert")
    with pytest.raises(CheckpointError, match="an encoder without a head for rating"):
        load_weights(build(checkpoint.config, TASK).model, Checkpoint(bare), TASK)


def test_conversion(converted: tuple[Path, dict[str, Any]]) -> None:
    _, report = converted
    assert report["task"] == TASK
    figures = report["evaluation"]["runtimes"][INSTALLED[0]]
    assert figures["passed"]
    assert figures["drop"] == pytest.approx(100 * figures["disagreement"])
    assert {tensor["name"] for tensor in report["outputs"]}  # both heads
    assert len(report["outputs"]) == 2


def test_eval(converted: tuple[Path, dict[str, Any]], folder: Path, tmp_path: Path) -> None:
    """By the runtime and in Keras; the two answer alike."""
    rows = [{"text": text, "rating": 0.5} for text in toy_folders.sentences(12).texts]
    data = tmp_path / "rated.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["eval", "--model", str(converted[0]), "--data", str(data), "--against", str(folder)]
    found = CliRunner().invoke(cli.main, [*command, "--json"], catch_exceptions=False)
    result = json.loads(found.stdout)
    assert (result["task"], result["texts"], result["unanswered"]) == (TASK, 12, 0)
    assert 0 < result["closeness"] <= 1
    assert result["disagreement"] < 0.2
    found = CliRunner().invoke(cli.main, command, catch_exceptions=False)
    assert f"closeness {result['closeness']:.2f}" in found.stdout


def test_answers_are_printed(converted: tuple[Path, dict[str, Any]]) -> None:
    command = [sys.executable, "-m", "tfedge.runtime.infer", "--model", str(converted[0])]
    printed, as_fields = (
        subprocess.run([*command, *more], capture_output=True, text=True, check=True).stdout
        for more in (["the film is good"], ["--json", "the film is good"])
    )
    answer = json.loads(as_fields)
    assert list(answer) == ["text", "goodness", "length"]
    assert printed == f"{answer['goodness']:.3f}\t{answer['length']:.3f}\n"


@pytest.mark.slow
def test_quantisation_aware_distillation(folder: Path, tmp_path: Path) -> None:
    data = toy_folders.write_sentences(tmp_path / "texts.tsv")
    command = ["qad", str(folder), "--data", str(data), "--eval", str(data), "--json"]
    command += ["--output", str(tmp_path / "trained"), "--steps", "4", "--max-length", str(LENGTH)]
    found = CliRunner().invoke(cli.main, command, catch_exceptions=False)
    report = json.loads(found.stdout)
    assert report["task"] == TASK
    assert 0 < report["after"]["mean"] < 1
