"""Quantisation-aware distillation: losses by hand, then whole runs on toys."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import toy_folders
from bars import Bars
from records import Killed, Record, request, same_weights, weights
from safetensors.numpy import save_file

from tfedge.data.batches import pad
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import encode, load_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.quantize.edgetpu_layers import EvenVariance
from tfedge.quantize.layers import ChannelMean, ChannelScale, PointwiseDense
from tfedge.quantize.prepare import Shape, prepare
from tfedge.quantize.record import FILE, read_decisions
from tfedge.quantize.rounding import rounded_constant, rounded_weights
from tfedge.records import as_json
from tfedge.train import qad as module
from tfedge.train.distil import DistillationLosses
from tfedge.train.qad import QuantizedDistiller, qad
from tfedge.train.training import TrainingOptions

LENGTH = 16
OPTIONS = TrainingOptions(
    steps=40, batch_size=8, learning_rate=1e-3, max_length=LENGTH, steps_per_checkpoint=10
)
MASK = tf.constant([[1, 1, 0], [1, 1, 1]])


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished training."""

    source: Path
    output: Path
    record: Record
    report: dict[str, Any]
    bars: Bars
    trainer: QuantizedDistiller


def write_toy(folder: Path, task: str) -> Path:
    """A toy whose int8 graph is some way off: some channels of its embeddings are large."""
    toy_folders.write_folder(folder, "bert", task, small=True)
    tensors = weights(folder)
    for name, value in tensors.items():
        if name.endswith(".weight") and value.ndim == 2:
            value *= 4
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def run(source: Path, output: Path, record: Record | None = None, **changes: Any) -> Run:
    """Trains; the trainer is caught on its way."""
    texts = changes.pop("texts", toy_folders.sentences(40))
    graph = changes.pop("graph", "integer")
    record, bars, trainers = record or Record(), Bars(), []
    compare = module.compare

    def caught(trainer: QuantizedDistiller, *arguments: Any) -> Any:
        trainers.append(trainer)
        return compare(trainer, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "compare", caught)
        options, held_out = dataclasses.replace(OPTIONS, **changes), toy_folders.sentences(24)
        asked = {"evaluation": held_out, "make_bar": bars}
        report = as_json(
            qad(
                request(source, texts, output, options, record, **asked),
                DistillationLosses(),
                graph,
            )
        )
    return Run(source, output, record, report, bars, trainers[-1])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """A finished training of a task's toy, made once."""
    root = tmp_path_factory.mktemp("qad")

    @functools.cache
    def get(task: str) -> Run:
        return run(write_toy(root / task / "toy", task), root / task / "out")

    return get


TASKS = ["text-classification", "sentence-embedding"]


@pytest.mark.parametrize("task", [TASKS[0], pytest.param(TASKS[1], marks=pytest.mark.slow)])
def test_loss_falls(finished: Callable[[str], Run], task: str) -> None:
    found = finished(task)
    assert list(found.record.losses) == [20, 40]
    assert found.record.losses[40] < 0.9 * found.record.losses[20]


def test_embeddings_stay_close(finished: Callable[[str], Run]) -> None:
    """The toy's are so close before (0.0005) that training moves them by as much as it gains."""
    report = finished("sentence-embedding").report
    assert 0 < report["after"]["mean"] < 0.002
    assert report["after"]["mean"] <= report["after"]["largest"]
    assert report["before"]["texts"] == report["after"]["texts"] == 24
    assert (report["steps"], report["texts"], report["task"]) == (40, 40, "sentence-embedding")


def test_bars_are_filled(finished: Callable[[str], Run]) -> None:
    bars = finished("sentence-embedding").bars
    assert [(bar.description, bar.total) for bar in bars] == [
        ("calibrating", 280),
        ("comparing with float", 24),
        ("training", 40),
        ("comparing with float", 24),
    ]
    assert all(bar.done == bar.total for bar in bars if bar.description != "training")


@pytest.mark.parametrize("task", TASKS)
def test_written_folder_is_an_ordinary_checkpoint(
    finished: Callable[[str], Run], task: str
) -> None:
    """A float model that answers about as before, its word embeddings as they were."""
    found = finished(task)
    models = []
    for folder in (found.source, found.output):
        checkpoint = Checkpoint(folder)
        models.append(build(checkpoint.config, task, 2).model)
        load_weights(models[-1], checkpoint, task)
    names = models[0].input_names
    batch = pad([np.arange(5, 5 + length) for length in (4, 9)], 9, names)
    (name, expected), (_, actual) = (next(iter(model(batch).items())) for model in models)
    assert name in {"logits", "embedding"}
    assert 0 < np.abs(actual - expected).max() < 0.5 * np.abs(expected).max()
    assert (found.output / "tokenizer.json").is_file()
    assert not found.output.with_name("out.training").exists()
    # Every row but for its centring, which no layer norm lets through.
    tables = [weights(found.source), weights(found.output)]
    key = next(key for key in tables[0] if key.endswith("word_embeddings.weight"))
    before, after = (table[key] - table[key].mean(-1, keepdims=True) for table in tables)
    np.testing.assert_allclose(after, before, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_converted_graph_is_the_trained_one(finished: Callable[[str], Run], task: str) -> None:
    """The static graph from the written folder, its constants rounded here, against the student."""
    assert_converted_is_trained(finished(task), task)


@pytest.mark.slow
def test_graph_for_the_edge_tpu(tmp_path: Path) -> None:
    """Trained as it is converted, and of no use to the usual graph."""
    task = "sentence-embedding"
    source = write_toy(tmp_path / "toy", task)
    found = run(source, tmp_path / "out", graph="edgetpu", steps=20)
    assert found.report["after"]["mean"] < 0.8 * found.report["before"]["mean"]
    assert_converted_is_trained(found, task, "edgetpu")
    with pytest.raises(CheckpointError, match="for the graph 'edgetpu', not integer"):
        read_decisions(Checkpoint(found.output), task)


def assert_converted_is_trained(found: Run, task: str, graph_name: str = "integer") -> None:
    checkpoint = Checkpoint(found.output)
    decisions = read_decisions(checkpoint, task, graph_name)
    assert decisions is not None
    shape = Shape(task, 2, LENGTH, graph=graph_name)
    graph = prepare(checkpoint, shape, [], decisions=decisions).graphs()[LENGTH]
    for layer in graph.layers:
        if isinstance(layer, PointwiseDense):
            layer.kernel.assign(rounded_weights(layer.kernel))
        elif isinstance(layer, EvenVariance):
            layer.vector.assign(rounded_weights(layer.constant()) * layer.unit)
        elif isinstance(layer, ChannelMean):
            layer.vector.assign(rounded_weights(layer.vector))
        elif isinstance(layer, ChannelScale):
            layer.vector.assign(rounded_constant(layer.constant()) * layer.unit**0.5)
    tokenizer = load_tokenizer(found.output)
    sequences = encode(tokenizer, toy_folders.sentences(24).texts, LENGTH)
    batch = pad(sequences, LENGTH - 4, graph.input_names)
    trained = {
        name: value.numpy()
        for name, value in found.trainer.student(batch).items()
        if name != "hidden_states"
    }
    (name, expected), *_ = trained.items()
    rows = [pad([sequence], LENGTH, graph.input_names) for sequence in sequences]
    actual = np.concatenate([graph(row)[name] for row in rows])
    # All but the roundings that float32's own error turns over.
    step = decisions.calibration.ranges["pooling" if "embedding" in name else "classifier"].scale
    assert np.mean(np.abs(actual - expected) < 0.1 * step) > 0.95
    assert np.abs(actual - expected).max() < 2.1 * step


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_weights(
    finished: Callable[[str], Run], tmp_path: Path
) -> None:
    whole = finished("sentence-embedding")
    with pytest.raises(Killed):
        run(whole.source, tmp_path / "out", Record(kill_at=20))
    assert not (tmp_path / "out").exists()
    resumed = run(whole.source, tmp_path / "out")
    # From the checkpoint at step 10, without calibrating again.
    assert resumed.bars[0].description == "comparing with float"
    assert resumed.record.losses[40] == whole.record.losses[40]
    assert resumed.report["before"] == whole.report["before"]
    assert resumed.report["after"] == whole.report["after"]
    assert same_weights(resumed.output, whole.output)
    assert (resumed.output / FILE).read_bytes() == (whole.output / FILE).read_bytes()


@pytest.mark.slow
def test_killed_while_calibrating(
    finished: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights without decisions are no start."""
    whole = finished("sentence-embedding")

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_decisions", killed)
        with pytest.raises(Killed):
            run(whole.source, tmp_path / "out")
    assert (tmp_path / "out.training" / "start" / "model.safetensors").is_file()
    resumed = run(whole.source, tmp_path / "out")
    assert resumed.bars[0].description == "calibrating"
    assert same_weights(resumed.output, whole.output)


def test_pruned_weights_stay_zero(tmp_path: Path) -> None:
    """And nothing else becomes or stays so; the words are frozen."""
    source = write_toy(tmp_path / "toy", "text-classification")
    tensors = weights(source)
    for name, value in tensors.items():
        if value.ndim == 2 and ".dense." in name:
            value[np.random.RandomState(1).random_sample(value.shape) < 0.5] = 0
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    after = weights(run(source, tmp_path / "out", steps=5).output)
    pruned = [name for name, value in tensors.items() if np.mean(value == 0) > 0.4]
    assert len(pruned) >= 4
    for name in pruned:
        assert np.array_equal(after[name] == 0, tensors[name] == 0), name
        assert not np.array_equal(after[name], tensors[name]), name


def test_unlabelled_texts_and_pooling_files(tmp_path: Path) -> None:
    source = write_toy(tmp_path / "toy", "sentence-embedding")
    (source / "modules.json").write_text('[{"type": "x.Transformer"}, {"type": "x.Pooling"}]')
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    texts = Texts(toy_folders.sentences(8).texts, None, "plain.txt")
    found = run(source, tmp_path / "out", texts=texts, steps=1)
    for name in ("modules.json", "1_Pooling/config.json"):
        assert (found.output / name).read_bytes() == (source / name).read_bytes()


def test_existing_output_is_kept(finished: Callable[[str], Run]) -> None:
    found = finished("sentence-embedding")
    with pytest.raises(InputError, match="--force to replace it"):
        run(found.source, found.output)


def test_too_long_texts(finished: Callable[[str], Run], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max_length is 64; this encoder takes at most 20"):
        run(finished("sentence-embedding").source, tmp_path / "out", max_length=64)
