"""MPNet: what it has of its own; that it agrees with torch is in tests/models/test_parity.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import tensorflow as tf
import toy_folders
from conversions import assert_int8_agrees
from records import Record, request

from tfedge.errors import CheckpointError, InputError
from tfedge.models import cost
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build, input_names
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.config import parse_config
from tfedge.models.cost import load_times
from tfedge.models.layers import RelativeBias
from tfedge.presets import load_preset
from tfedge.quantize.lean import lean_graphs, wide_graphs
from tfedge.quantize.prepare import Lowering, Shape
from tfedge.train.distil import DistillationLosses
from tfedge.train.select import Space
from tfedge.train.shrink import Goal, shrink
from tfedge.train.training import TrainingOptions

CONFIG = cases.CONFIGS["mpnet"]
CLASSIFICATION, EMBEDDING = "text-classification", "sentence-embedding"


def write_folder(folder: Path, task: str, **changes: Any) -> Path:
    """A toy whose scores depend on how far tokens lie apart."""
    return toy_folders.write_folder(folder, "mpnet", task, **changes)


@pytest.fixture
def sequences() -> list[np.ndarray]:
    """Token ids of 12 texts."""
    random = np.random.RandomState(0)
    return [random.randint(5, 60, length).astype(np.int32) for length in range(5, 17)]


def test_buckets_are_those_of_transformers() -> None:
    """MPNetEncoder.relative_position_bucket of transformers 4.57 and 5.23, keys minus queries."""
    layer = RelativeBias((32, 1), 128, 1.0, (0, 1, 2, 3))
    found = layer.bucket_of(300).numpy()
    ahead = {0: 0, 1: 17, 7: 23, 8: 24, 11: 24, 12: 25, 15: 25, 16: 26, 22: 26, 23: 27, 32: 28}
    ahead |= {45: 28, 46: 29, 63: 29, 64: 30, 90: 30, 91: 31, 127: 31, 128: 31, 299: 31}
    for distance, bucket in ahead.items():
        assert found[0, distance] == bucket, distance
        assert found[distance, 0] == bucket - 16 * (distance > 0), distance


def test_other_numbers_of_buckets_are_refused() -> None:
    with pytest.raises(CheckpointError, match="relative_attention_num_buckets is 64"):
        parse_config({**CONFIG, "relative_attention_num_buckets": 64})


def test_all_layers_keep_all_heads(tmp_path: Path) -> None:
    """Their table has a column for each; neurons may go."""
    folder = write_folder(tmp_path / "toy", CLASSIFICATION)
    asked = request(
        folder, toy_folders.sentences(8), tmp_path / "out", TrainingOptions(max_length=16), Record()
    )
    goal = Goal(0.5, Space(frozenset({"heads", "neurons"}), True), 16, load_times("rpi4"))
    with pytest.raises(InputError, match="so all keep all heads; remove neurons, layers or width"):
        shrink(asked, goal, DistillationLosses())
    with pytest.raises(
        CheckpointError, match=r"tfedge.heads is \[4, 3\], and the layers of a mpnet"
    ):
        parse_config({**CONFIG, "tfedge": {"heads": [4, 3]}})
    assert parse_config({**CONFIG, "tfedge": {"neurons": [40, 48]}}).layer_neurons == (40, 48)


def test_inputs_and_positions() -> None:
    config = parse_config(CONFIG)
    assert input_names(config) == ("input_ids", "attention_mask")
    assert (config.max_position_embeddings, config.first_position) == (18, 2)


@pytest.mark.parametrize("task", [CLASSIFICATION, EMBEDDING])
def test_graphs_without_ranges_are_the_plain_graph(
    tmp_path: Path, task: str, sequences: list[np.ndarray]
) -> None:
    checkpoint = Checkpoint(write_folder(tmp_path / "toy", task))
    inputs = {name: value[:1] for name, value in cases.batch(checkpoint.config.source).items()}
    shape = Shape(task, 2, cases.SEQUENCE_LENGTH, normalize=False, buckets=(8,))
    plain = build(checkpoint.config, task, 2, GraphOptions(normalize=False))
    load_weights(plain.model, checkpoint, task)
    for graphs in (lean_graphs(checkpoint, shape), wide_graphs(checkpoint, shape, sequences)):
        for length, graph in graphs.items():
            cut = {name: value[:, :length] for name, value in inputs.items()}
            for name, expected in plain.model(cut).items():
                np.testing.assert_allclose(graph(cut)[name], expected, atol=1e-4)


@pytest.mark.parametrize(
    "graph", ["integer", "edgetpu", pytest.param("edgetpu-plain", marks=pytest.mark.slow)]
)
def test_integer_graphs_are_the_plain_graph(
    tmp_path: Path, graph: str, sequences: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the last layer [CLS] alone: one row of what is added to scores."""
    monkeypatch.setattr(tf.nn, "gelu", lambda x, approximate: x * tf.sigmoid(1.702 * x))
    # All layers read one table; of the graphs for the Edge TPU one layer is enough.
    folder = write_folder(tmp_path / "toy", CLASSIFICATION, small=graph != "integer")
    checkpoint = Checkpoint(folder)
    lowering = Lowering(checkpoint, Shape(CLASSIFICATION, 2, 16, graph=graph), sequences[:4])
    lowering.decided["plans"] = {}
    plain = build(checkpoint.config, CLASSIFICATION).model
    load_weights(plain, checkpoint, CLASSIFICATION)
    inputs = cases.batch(checkpoint.config.source)
    expected = plain(inputs)["logits"]
    whole = lowering.build(GraphOptions()).model(inputs)["logits"]
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    static = lowering.build(GraphOptions(1, cases.SEQUENCE_LENGTH, prune_last_layer=True)).model
    for row, wanted in enumerate(expected):
        one = {name: value[row : row + 1] for name, value in inputs.items()}
        np.testing.assert_allclose(static(one)["logits"][0], wanted, atol=1e-4)


def test_int8_agrees_in_both_runtimes(tmp_path: Path) -> None:
    assert_int8_agrees(write_folder(tmp_path / "toy", EMBEDDING, small=True), tmp_path, (8,))


def test_the_published_size() -> None:
    config = parse_config(load_preset("mpnet").config)
    assert config.max_position_embeddings == 512
    # As many numbers as all-mpnet-base-v2's file of weights holds, its pooler with them.
    assert cost.parameters(config, pooler=True) == 109_486_464
