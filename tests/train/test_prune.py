"""Magnitude pruning of a toy: exact zeros where they belong, and the same ones after any kill."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import toy_folders
from records import Killed, Record, request, same_weights, weights

from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.records import as_json
from tfedge.train.distil import DistillationLosses
from tfedge.train.prune import prune
from tfedge.train.sparsity import PruningOptions
from tfedge.train.training import TrainingOptions

ROOT = Path(__file__).parents[2]
OPTIONS = TrainingOptions(
    epochs=8, batch_size=8, learning_rate=1e-3, max_length=16, steps_per_checkpoint=10
)
HALF = PruningOptions(0.5)
ENCODER = "bert.encoder.layer.0"


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    output: Path
    record: Record
    report: dict[str, Any]


def run(
    source: Path, texts: Texts, output: Path, pruning: PruningOptions = HALF, **changes: Any
) -> Run:
    record = changes.pop("record", Record())
    losses = changes.pop("losses", DistillationLosses())
    kept = {
        name: changes.pop(name)
        for name in ("teacher", "augmentation", "random_share")
        if name in changes
    }
    asked = {name: changes.pop(name) for name in ("evaluation", "task") if name in changes}
    options = dataclasses.replace(OPTIONS, **changes)
    report = as_json(
        prune(request(source, texts, output, options, record, **asked), pruning, losses, **kept)
    )
    return Run(output, record, report)


def zeros(folder: Path) -> dict[str, float]:
    """Share of zeros of each matrix."""
    return {
        name: float(np.mean(value == 0))
        for name, value in weights(folder).items()
        if value.ndim == 2
    }


@pytest.fixture(scope="module")
def toy_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one layer: most of a short run is the tracing of its graph."""
    return toy_folders.write_folder(tmp_path_factory.mktemp("toy") / "encoder", small=True)


@pytest.fixture(scope="module")
def finished(toy_encoder: Path, toy_texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("pruned") / "pruned"
    return run(toy_encoder, toy_texts, output, evaluation=toy_texts)


def test_half_of_each_dense_layer_is_zero_and_nothing_else(finished: Run) -> None:
    for name, share in zeros(finished.output).items():
        dense = "embeddings" not in name and not name.startswith("classifier")
        assert share == (0.5 if dense else 0.0), name


def test_report(finished: Run, toy_encoder: Path) -> None:
    report = finished.report
    layers = {layer["name"]: layer for layer in report["layers"]}
    assert layers["encoder.layer.0.intermediate.dense"] == {
        "name": "encoder.layer.0.intermediate.dense",
        "weights": 48 * 32,
        "zeros": 24 * 32,
        "sparsity": 0.5,
    }
    tensors = weights(finished.output).values()
    assert report["weights"] == sum(tensor.size for tensor in tensors)
    assert report["zeros"] == sum(int((tensor == 0).sum()) for tensor in tensors)
    assert report["zeros"] >= sum(layer["zeros"] for layer in report["layers"])
    for kind, folder in (("dense", toy_encoder), ("pruned", finished.output)):
        content = (folder / "model.safetensors").read_bytes()
        packed = len(gzip.compress(content))
        assert report["files"][kind] == {"raw": len(content), "gzip": packed}
    assert report["files"]["pruned"]["gzip"] < 0.9 * report["files"]["dense"]["gzip"]
    assert (report["steps"], report["texts"]) == (40, 40)
    # Every step of the first three quarters of 40.
    assert report["pruned_at"] == list(range(1, 31))
    assert report["accuracy"] == finished.record.accuracies[40]
    json.dumps(report)


def test_written_folder_is_an_ordinary_one(finished: Run, toy_encoder: Path) -> None:
    checkpoint = Checkpoint(finished.output)
    assert checkpoint.names == Checkpoint(toy_encoder).names
    assert checkpoint.config.labels == list(toy_folders.LABELS)
    model = build(checkpoint.config, "text-classification").model
    assert load_weights(model, checkpoint, "text-classification") == []
    assert (finished.output / "tokenizer.json").is_file()
    assert not finished.output.with_name("pruned.training").exists()


@pytest.mark.slow
def test_early_stopping_waits_for_the_whole_sparsity(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    """Pruning ends with step 30 of 40; nothing before may be kept."""
    made = run(toy_encoder, toy_texts, tmp_path / "pruned", evaluation=toy_texts, patience=1)
    assert min(step for step in made.record.accuracies) == 5
    assert max(made.record.accuracies) >= 35
    assert {layer["sparsity"] for layer in made.report["layers"]} == {0.5}
    counted = {step: value for step, value in made.record.accuracies.items() if step >= 30}
    assert made.report["accuracy"] == max(counted.values())


@pytest.mark.slow
def test_mixed_precision_keeps_weights_exact(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    """A mask in bfloat16 would round the weights that it leaves, and not fit a table at all."""
    layers = ("encoder.*", "embeddings.word_embeddings")
    pruning = dataclasses.replace(HALF, layers=layers)
    made = run(toy_encoder, toy_texts, tmp_path / "pruned", pruning, mixed_precision=True)
    for layer in made.report["layers"]:
        assert layer["sparsity"] == 0.5, layer["name"]
        value = weights(made.output)[f"bert.{layer['name']}.weight"].astype(np.float32)
        rounded = tf.cast(tf.cast(value, tf.bfloat16), tf.float32).numpy()
        assert np.mean(rounded[value != 0] != value[value != 0]) > 0.5, layer["name"]


@pytest.mark.slow
def test_training_makes_up_for_zeros(toy_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    """Against the same zeros and a rate of next to nothing."""
    once = PruningOptions(schedule="constant", begin_step=1, end_step=1)
    losses = [
        run(toy_encoder, toy_texts, tmp_path / str(rate), once, learning_rate=rate).record.losses
        for rate in (1e-12, 1e-3)
    ]
    assert losses[0][40] > 1e-3
    assert losses[1][40] < 0.8 * losses[0][40]


def test_each_layer_has_its_own_sparsity(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    layers = ("*.intermediate.dense=0.75", "embeddings.word_embeddings=0.25")
    pruning = PruningOptions(layers=layers, schedule="constant", begin_step=3, end_step=3)
    made = run(toy_encoder, toy_texts, tmp_path / "out", pruning, epochs=2)
    found = {name: share for name, share in zeros(made.output).items() if share}
    words = found.pop("bert.embeddings.word_embeddings.weight")
    assert words == pytest.approx(0.25, abs=1e-3)
    assert set(found.values()) == {0.75}
    assert len(found) == 1
    assert made.report["pruned_at"] == [3]


def test_two_of_four_inputs(toy_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    made = run(toy_encoder, toy_texts, tmp_path / "out", PruningOptions(pattern="2:4"), epochs=2)
    for name, value in weights(made.output).items():
        if value.ndim == 2 and "embeddings" not in name and not name.startswith("classifier"):
            fours = (value == 0).reshape(len(value), -1, 4)  # (out, in / 4, 4)
            assert set(fours.sum(-1).ravel()) == {2}, name
    assert made.report["pruned_at"] == [1]


@pytest.mark.slow
def test_blocks_of_inputs(toy_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    made = run(toy_encoder, toy_texts, tmp_path / "out", PruningOptions(pattern="4x1"), epochs=2)
    value = weights(made.output)[f"{ENCODER}.intermediate.dense.weight"]  # (out, in)
    blocks = (value == 0).reshape(len(value), -1, 4).sum(-1)
    assert set(blocks.ravel()) == {0, 4}
    assert blocks.mean() == 2


def test_blocks_of_a_table_lie_in_its_rows(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    """Also where other layers have another pattern."""
    layers = ("embeddings.word_embeddings/4x1", "pooler.dense")
    pruning = PruningOptions(layers=layers)
    made = run(toy_encoder, toy_texts, tmp_path / "out", pruning, epochs=2)
    value = weights(made.output)["bert.embeddings.word_embeddings.weight"]  # (words, channels)
    blocks = (value == 0).reshape(len(value), -1, 4).sum(-1)
    assert set(blocks.ravel()) == {0, 4}
    assert blocks.mean() == pytest.approx(2, rel=1e-2)


@pytest.mark.parametrize("random_share", [pytest.param(0.0, marks=pytest.mark.slow), 1.0])
def test_rows_of_words_that_the_texts_lack_learn_by_random_tokens(
    toy_encoder: Path, tmp_path: Path, random_share: float
) -> None:
    table = "bert.embeddings.word_embeddings.weight"
    texts = Texts(["good film"] * 40, None, "toy")
    pruning = PruningOptions(layers=("embeddings.word_embeddings", "pooler.dense"))
    changes = {"augmentation": 0.0, "random_share": random_share, "steps": 25}
    made = run(toy_encoder, texts, tmp_path / "out", pruning, **changes)
    before, after = (weights(folder)[table] for folder in (toy_encoder, made.output))
    moved = ((after != before) & (after != 0)).any(-1)  # (words,)
    if random_share:
        assert moved.mean() > 0.5
    else:
        assert moved.sum() <= 5  # [CLS], [SEP], [PAD] and the two words


@pytest.mark.parametrize(
    "kill_at",
    [pytest.param(20, marks=pytest.mark.slow), 25, pytest.param(40, marks=pytest.mark.slow)],
)
def test_killed_run_resumes_to_the_same_zeros(
    finished: Run, toy_encoder: Path, toy_texts: Texts, tmp_path: Path, kill_at: int
) -> None:
    with pytest.raises(Killed):
        run(
            *(toy_encoder, toy_texts, tmp_path / "out"),
            record=Record(kill_at=kill_at),
            evaluation=toy_texts,
        )
    assert not (tmp_path / "out").exists()
    resumed = run(toy_encoder, toy_texts, tmp_path / "out", evaluation=toy_texts)
    assert min(resumed.record.accuracies) > 10  # from a checkpoint, not from the beginning
    assert same_weights(resumed.output, finished.output)
    assert resumed.report == {**finished.report, "output": str(tmp_path / "out")}


@pytest.mark.slow
def test_masks_come_from_the_checkpoint(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    """A run that has pruned all it will when it is killed: without masks all would grow again."""
    pruning = PruningOptions(schedule="constant", begin_step=5, end_step=5)
    with pytest.raises(Killed):
        run(toy_encoder, toy_texts, tmp_path / "out", pruning, record=Record(kill_at=20))
    resumed = run(toy_encoder, toy_texts, tmp_path / "out", pruning)
    assert zeros(resumed.output)[f"{ENCODER}.output.dense.weight"] == 0.5


@pytest.mark.slow
def test_killed_while_writing(
    finished: Run, toy_encoder: Path, toy_texts: Texts, tmp_path: Path, monkeypatch: Any
) -> None:
    """Nothing half-written is at the output's place, and the same command ends what was begun."""

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tfedge.train.prune.sparsity_of", killed)
        with pytest.raises(Killed):
            run(toy_encoder, toy_texts, tmp_path / "out", evaluation=toy_texts)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out.training" / "result" / "model.safetensors").write_bytes(b"half")
    resumed = run(toy_encoder, toy_texts, tmp_path / "out", evaluation=toy_texts)
    assert same_weights(resumed.output, finished.output)


def _started(folder: Path, texts: Path, output: Path) -> subprocess.Popen[bytes]:
    options = ["--data", texts, "--output", output, "--steps", "400", "--batch-size", "2"]
    options += ["--max-length", "16", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "tfedge.cli", "prune", folder, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _checkpoints(output: Path) -> Iterator[int]:
    for path in output.with_name(f"{output.name}.training").glob("steps/ckpt-*.index"):
        yield int(path.stem.removeprefix("ckpt-"))


@pytest.mark.slow
def test_sigkill(toy_encoder: Path, tmp_path: Path) -> None:
    """The process itself is killed, twice, wherever it is."""
    texts = toy_folders.write_sentences(tmp_path / "toy.tsv")
    with _started(toy_encoder, texts, tmp_path / "whole") as process:
        expected, _ = process.communicate(timeout=300)
    for reached in (100, 200):
        with _started(toy_encoder, texts, tmp_path / "out") as process:
            while not any(step >= reached for step in _checkpoints(tmp_path / "out")):
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
    assert not (tmp_path / "out").exists()
    with _started(toy_encoder, texts, tmp_path / "out") as process:
        report, _ = process.communicate(timeout=300)
    assert same_weights(tmp_path / "out", tmp_path / "whole")
    assert {**json.loads(report), "output": ""} == {**json.loads(expected), "output": ""}


def test_other_settings_do_not_resume(toy_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(toy_encoder, toy_texts, tmp_path / "out", record=Record(kill_at=20))
    said = r"interrupted run with other settings \(sparsity: 0\.5, now 0\.6\)"
    with pytest.raises(InputError, match=said):
        run(toy_encoder, toy_texts, tmp_path / "out", PruningOptions(0.6))


def test_schedule_that_never_fires(toy_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    pruning = PruningOptions(begin_step=0, end_step=1000, frequency=100)
    with pytest.raises(InputError, match="would never prune"):
        run(toy_encoder, toy_texts, tmp_path / "out", pruning)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_labels_are_read_only_for_their_loss(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    plain = Texts(toy_texts.texts[:16], None, "plain.txt")
    assert "accuracy" not in run(toy_encoder, plain, tmp_path / "plain", epochs=1).report
    labels = DistillationLosses(labels=1.0)
    with pytest.raises(InputError, match=r"plain\.txt has no labels"):
        run(toy_encoder, plain, tmp_path / "x", losses=labels)
    made = run(toy_encoder, toy_texts.head(16), tmp_path / "y", losses=labels, epochs=1)
    assert not same_weights(made.output, tmp_path / "plain")


def test_embedders_learn_hidden_states(toy_texts: Texts, tmp_path: Path) -> None:
    task = "sentence-embedding"
    source = toy_folders.write_folder(tmp_path / "toy", task=task, small=True)
    made = run(source, toy_texts, tmp_path / "out", task=task, epochs=2)
    assert 0.5 in set(zeros(made.output).values())
    with pytest.raises(InputError, match=f"labels do not train models for {task}, as "):
        run(source, toy_texts, tmp_path / "x", task=task, losses=DistillationLosses(labels=1.0))


@pytest.mark.slow
def test_another_teacher(
    finished: Run, toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    other = toy_folders.write_folder(tmp_path / "other", seed=7, small=True)
    made = run(toy_encoder, toy_texts, tmp_path / "out", teacher=other)
    assert not same_weights(made.output, finished.output)
    deeper = toy_folders.write_folder(tmp_path / "deeper", num_hidden_layers=2)
    with pytest.raises(InputError, match="has 2 layers of 32 channels, the model to prune 1 of 32"):
        run(toy_encoder, toy_texts, tmp_path / "x", teacher=deeper)
    logits = DistillationLosses(hidden=0.0)
    made = run(toy_encoder, toy_texts, tmp_path / "y", teacher=deeper, losses=logits, epochs=1)
    assert made.report["sparsity"] > 0
    renamed = toy_folders.write_folder(tmp_path / "renamed", labels=("bad", "good"), small=True)
    with pytest.raises(InputError, match="has the labels bad, good, the model to prune negative"):
        run(toy_encoder, toy_texts, tmp_path / "z", teacher=renamed)
    larger = toy_folders.write_folder(tmp_path / "larger", max_position_embeddings=24, small=True)
    with pytest.raises(InputError, match="reads other tokens"):
        run(toy_encoder, toy_texts, tmp_path / "z", teacher=larger)


@pytest.mark.slow
def test_stored_as_the_source_is(toy_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    source = toy_folders.write_folder(tmp_path / "half", small=True)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "torch_dtype": "float16"}))
    made = run(source, toy_texts.head(16), tmp_path / "out", epochs=1)
    assert {tensor.dtype for tensor in weights(made.output).values()} == {np.dtype("float16")}


def test_output_is_replaced_only_by_force(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists; choose another --output, or --force"):
        run(toy_encoder, toy_texts, tmp_path / "out")
    (tmp_path / "out" / "mine").mkdir()
    (tmp_path / "out" / "mine" / "notes.txt").write_text("kept")
    shutil.copyfile(toy_encoder / "config.json", tmp_path / "out" / "config.json")
    shutil.copyfile(toy_encoder / "model.safetensors", tmp_path / "out" / "model.safetensors")
    (tmp_path / "out" / "tfedge_quantization.json").write_text("{}")
    options, losses = dataclasses.replace(OPTIONS, epochs=1), DistillationLosses()
    asked = (toy_encoder, toy_texts.head(16), tmp_path / "out", options, Record())
    prune(request(*asked, force=True), HALF, losses)
    assert (tmp_path / "out" / "mine" / "notes.txt").read_text() == "kept"
    # What belonged to the older weights goes with them.
    assert not (tmp_path / "out" / "tfedge_quantization.json").exists()
    assert weights(tmp_path / "out").keys() == weights(toy_encoder).keys()
