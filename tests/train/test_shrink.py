"""Structured pruning of a toy: smaller by what was asked, an ordinary folder, the same after a kill."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import toy_folders
from records import Killed, Record, request, same_weights, weights

from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.cost import flops, load_times, parameters
from tfedge.records import as_json
from tfedge.train.distil import DistillationLosses
from tfedge.train.select import Space
from tfedge.train.shrink import Goal, shrink
from tfedge.train.training import TrainingOptions

ROOT = Path(__file__).parents[2]
OPTIONS = TrainingOptions(
    epochs=8, batch_size=8, learning_rate=1e-3, max_length=16, steps_per_checkpoint=10
)
LENGTH = 16
UNITS = frozenset({"heads", "neurons"})
WIDTH = frozenset({"width"})


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    output: Path
    record: Record
    report: dict[str, Any]


def target(ratio: float = 0.5, remove: frozenset[str] = UNITS, uniform: bool = False) -> Goal:
    return Goal(ratio, Space(remove, uniform), LENGTH, load_times("rpi4"))


def run(source: Path, texts: Texts, output: Path, goal: Goal | None = None, **changes: Any) -> Run:
    record = changes.pop("record", Record())
    losses = changes.pop("losses", DistillationLosses())
    kept = {name: changes.pop(name) for name in ("evaluation", "task", "force") if name in changes}
    options = dataclasses.replace(OPTIONS, **changes)
    asked = request(source, texts, output, options, record, **kept)
    report = as_json(shrink(asked, goal or target(), losses))
    return Run(output, record, report)


def ratio(folder: Path, source: Path) -> float:
    after, before = (flops(Checkpoint(one).config, LENGTH) for one in (folder, source))
    return after / before


def answers(folder: Path, task: str = "text-classification") -> np.ndarray:
    checkpoint = Checkpoint(folder)
    model = build(checkpoint.config, task).model
    assert load_weights(model, checkpoint, task) == []
    return np.asarray(next(iter(model(cases.batch(checkpoint.config.source)).values())))


@pytest.fixture(scope="module")
def finished(toy_encoder: Path, toy_texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("shrunk") / "shrunk"
    return run(toy_encoder, toy_texts, output, evaluation=toy_texts)


def test_half_of_the_operations_are_left(finished: Run, toy_encoder: Path) -> None:
    assert 0.44 < ratio(finished.output, toy_encoder) <= 0.5
    assert finished.report["target"] == {"flops": 0.5}


def test_report(finished: Run, toy_encoder: Path) -> None:
    report = finished.report
    config = Checkpoint(finished.output).config
    for when, folder in (("before", toy_encoder), ("after", finished.output)):
        figures, sizes = report[when], Checkpoint(folder).config
        assert figures["parameters"] == parameters(sizes)
        assert figures["flops"] == flops(sizes, LENGTH)
    assert report["after"]["ms"] < report["before"]["ms"]
    assert (report["channels"], report["removed_layers"]) == ({"kept": 32, "of": 32}, [])
    for index, layer in enumerate(report["layers"]):
        assert layer["was"] == index
        assert (layer["of_heads"], layer["of_neurons"]) == (4, 48)
        assert (layer["heads"], layer["neurons"]) == (config.heads(index), config.neurons(index))
    assert report["accuracy"]["after"] == finished.record.accuracies[40]
    assert set(report["accuracy"]) == {"before", "cut", "after"}
    assert (report["steps"], report["texts"]) == (40, 40)
    assert len(report["candidates"]) == 1
    json.dumps(report)


def test_what_is_left_learns(finished: Run) -> None:
    losses = finished.record.losses
    assert losses[40] < 0.9 * losses[20]


def test_layers_that_differ_are_read_back(finished: Run) -> None:
    checkpoint = Checkpoint(finished.output)
    assert not finished.report["ordinary"]
    extension = checkpoint.config.source["tfedge"]
    assert extension["head_size"] == 8
    tensors = weights(finished.output)
    for index in range(2):
        query = tensors[f"bert.encoder.layer.{index}.attention.self.query.weight"]
        assert query.shape == (8 * checkpoint.config.heads(index), 32)
    assert np.isfinite(answers(finished.output)).all()
    assert checkpoint.config.labels == list(toy_folders.LABELS)
    assert (finished.output / "tokenizer.json").is_file()
    assert not finished.output.with_name("shrunk.training").exists()


@pytest.mark.slow
def test_what_was_cut_can_be_cut_again(finished: Run, toy_texts: Texts, tmp_path: Path) -> None:
    again = run(finished.output, toy_texts, tmp_path / "out", target(0.7), epochs=1)
    assert 0.6 < ratio(again.output, finished.output) <= 0.7
    before = Checkpoint(finished.output).config
    for layer in again.report["layers"]:
        assert layer["of_neurons"] == before.neurons(layer["was"])


@pytest.mark.parametrize(
    ("family", "task"),
    [
        ("bert", "text-classification"),
        pytest.param("distilbert", "sentence-embedding", marks=pytest.mark.slow),
    ],
)
def test_what_matters_to_nobody_goes_first(
    family: str, task: str, toy_texts: Texts, tmp_path: Path
) -> None:
    """Neurons without a way out are what is removed, and the answers are the same."""
    source = toy_folders.write_folder(tmp_path / "toy", family, task)
    dead = np.arange(0, 48, 2)
    kill_neurons(source, dead)
    goal = target(0.8125, frozenset({"neurons"}))  # what is left without them
    made = run(source, toy_texts, tmp_path / "out", goal, task=task, learning_rate=1e-12, epochs=1)
    assert [layer["neurons"] for layer in made.report["layers"]] == [24, 24]
    np.testing.assert_allclose(answers(made.output, task), answers(source, task), atol=1e-4)
    # Equal numbers and all heads: a configuration like any other.
    assert made.report["ordinary"]
    assert "tfedge" not in Checkpoint(made.output).config.source
    assert Checkpoint(made.output).config.intermediate_size == 24


def kill_neurons(folder: Path, neurons: np.ndarray) -> None:
    from safetensors.numpy import save_file

    tensors = weights(folder)
    for name, value in tensors.items():
        if name.endswith((".output.dense.weight", ".ffn.lin2.weight")) and value.shape[1] == 48:
            value[:, neurons] = 0
    save_file(tensors, folder / "model.safetensors")


def test_width_leaves_an_ordinary_folder(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    made = run(toy_encoder, toy_texts, tmp_path / "out", target(0.75, WIDTH), epochs=1)
    config = Checkpoint(made.output).config
    assert made.report["ordinary"]
    assert (config.hidden_size, config.head_size, config.num_attention_heads) == (24, 6, 4)
    assert np.isfinite(answers(made.output)).all()


def test_nearest_of_several_shapes_is_taken(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    goal = target(0.5, frozenset({"layers", "neurons", "heads"}))
    report = run(toy_encoder, toy_texts, tmp_path / "out", goal, epochs=1).report
    tried = report["candidates"]
    assert [row["layers"] for row in tried] == [2, 1]
    nearest = min(tried, key=lambda row: row["divergence"])
    assert nearest["layers"] == len(report["layers"])


@pytest.mark.slow
def test_killed_run_resumes_to_the_same(
    finished: Run,
    toy_encoder: Path,
    toy_texts: Texts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Killed):
        run(
            *(toy_encoder, toy_texts, tmp_path / "out"),
            record=Record(kill_at=20),
            evaluation=toy_texts,
        )
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="interrupted run with other settings"):
        run(toy_encoder, toy_texts, tmp_path / "out", target(0.6), evaluation=toy_texts)
    # What is removed was chosen before the kill, and is not chosen again.
    monkeypatch.setattr("tfedge.train.shrink.measure_importance", None)
    resumed = run(toy_encoder, toy_texts, tmp_path / "out", evaluation=toy_texts)
    assert min(resumed.record.accuracies) > 10  # from a checkpoint, not from the beginning
    assert same_weights(resumed.output, finished.output)
    assert resumed.report == {**finished.report, "output": str(tmp_path / "out")}


@pytest.mark.slow
def test_sigkill(toy_encoder: Path, tmp_path: Path) -> None:
    """The process itself is killed in the middle of training."""
    texts = toy_folders.write_sentences(tmp_path / "toy.tsv")
    with _started(toy_encoder, texts, tmp_path / "whole") as process:
        expected, _ = process.communicate(timeout=300)
    with _started(toy_encoder, texts, tmp_path / "out") as process:
        while not list((tmp_path / "out.training").glob("steps/ckpt-*.index")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not (tmp_path / "out").exists()
    with _started(toy_encoder, texts, tmp_path / "out") as process:
        report, _ = process.communicate(timeout=300)
    assert same_weights(tmp_path / "out", tmp_path / "whole")
    assert {**json.loads(report), "output": ""} == {**json.loads(expected), "output": ""}


def _started(folder: Path, texts: Path, output: Path) -> subprocess.Popen[bytes]:
    options = ["--target-flops", "0.5", "--data", texts, "--output", output, "--steps", "300"]
    options += ["--remove", "heads", "--remove", "neurons", "--batch-size", "2"]
    options += ["--max-length", "16", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "tfedge.cli", "shrink", folder, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def test_what_cannot_be_cut(toy_texts: Texts, tmp_path: Path) -> None:
    mobile = toy_folders.write_folder(tmp_path / "mobile", "mobilebert")
    with pytest.raises(InputError, match="family mobilebert cannot be cut"):
        run(mobile, toy_texts, tmp_path / "out")
    tagger = toy_folders.write_folder(
        tmp_path / "tagger", task="token-classification", labels=toy_folders.ENTITIES
    )
    with pytest.raises(InputError, match="is for token-classification; what is cut must be for"):
        run(tagger, toy_texts, tmp_path / "out", task="token-classification")
    embedder = toy_folders.write_folder(tmp_path / "embedder", task="sentence-embedding")
    with pytest.raises(InputError, match="would change the length of the embeddings"):
        run(embedder, toy_texts, tmp_path / "out", target(0.5, WIDTH))
    with pytest.raises(InputError, match="labels do not train models for"):
        run(embedder, toy_texts, tmp_path / "out", losses=DistillationLosses(labels=1.0))
    with pytest.raises(InputError, match="layers alone; raise it or add --remove heads or"):
        run(embedder, toy_texts, tmp_path / "out", target(0.3, frozenset({"layers"})))
    with pytest.raises(InputError, match="target is 1; it is a share of the cost, 0 to 1"):
        target(1)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.slow
def test_output_is_replaced_only_by_force(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "older").write_text("")
    with pytest.raises(InputError, match="out exists; choose another --output, or --force"):
        run(toy_encoder, toy_texts, tmp_path / "out")
    plain = Texts(toy_texts.texts[:16], None, "plain.txt")
    labels = DistillationLosses(labels=1.0)
    with pytest.raises(InputError, match=r"plain\.txt has no labels"):
        run(toy_encoder, plain, tmp_path / "out", losses=labels, force=True)
    assert (tmp_path / "out" / "older").exists()
    made = run(toy_encoder, plain, tmp_path / "out", epochs=1, force=True)
    assert "accuracy" not in made.report
    assert (tmp_path / "out" / "older").exists()  # what is no checkpoint's stays
    assert (tmp_path / "out" / "model.safetensors").is_file()
