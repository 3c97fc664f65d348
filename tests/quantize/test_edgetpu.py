"""The graph for the Edge TPU: what the plain graph computes, from operations of the table only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
import toy_folders
from lowered import lowered, prepared

from tfedge.edgetpu.check import check
from tfedge.models import layers as plain_layers
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, parameters
from tfedge.models.config import parse_config
from tfedge.quantize.edgetpu import GELU_FACTOR, HALF_MASK_DEPTH, EdgeTpuBlocks
from tfedge.quantize.edgetpu_layers import (
    TypeEmbedding,
    as_row,
    repeat,
    sum_of_blocks,
    sum_of_tokens,
)
from tfedge.quantize.integer import NormPlan
from tfedge.quantize.prepare import Shape
from tfedge.records import as_json
from tfedge.tflite.edit import inputs_first
from tfedge.tflite.tflite import to_tflite

CASES = [
    ("bert", "text-classification", "edgetpu"),
    ("bert", "sentence-embedding", "edgetpu"),
    pytest.param("bert", "question-answering", "edgetpu-plain", marks=pytest.mark.slow),
    pytest.param("distilbert", "token-classification", "edgetpu", marks=pytest.mark.slow),
    ("distilbert-relu", "text-classification", "edgetpu-plain"),
    pytest.param("mobilebert", "text-classification", "edgetpu", marks=pytest.mark.slow),
    pytest.param(
        *("mobilebert-layer-norm", "text-classification", "edgetpu"), marks=pytest.mark.slow
    ),
    pytest.param(
        "mobilebert-no-bottleneck", "sentence-embedding", "edgetpu-plain", marks=pytest.mark.slow
    ),
]
# One layer after another; of the others one is enough.
DEEPER = ("bert", "text-classification")
ON_CPU = {"CAST", "QUANTIZE", "GATHER"}


@pytest.fixture
def sigmoid_gelu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one thing that is replaced in float, in the plain graph too."""

    def gelu(x: tf.Tensor, approximate: bool) -> tf.Tensor:
        return x * tf.sigmoid(GELU_FACTOR * x)

    monkeypatch.setattr(plain_layers, "gelu", gelu)


@pytest.mark.usefixtures("sigmoid_gelu")
@pytest.mark.parametrize(("architecture", "task", "graph"), CASES)
def test_same_outputs_as_the_plain_graph(
    architecture: str,
    task: str,
    graph: str,
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
) -> None:
    checkpoint = outlier_checkpoint(architecture, task, small=(architecture, task) != DEEPER)
    plain = build(checkpoint.config, task, 2, GraphOptions(normalize=False))
    load_weights(plain.model, checkpoint, task)
    shape = Shape(task, 2, 16, normalize=False, graph=graph)
    lowering = lowered(checkpoint, shape, sequences)
    lowering.decided["plans"] = {}
    inputs = cases.batch(checkpoint.config.source)
    length = inputs["input_ids"].shape[1]
    dynamic = lowering.build(GraphOptions(normalize=False)).model(inputs)
    is_pruned = task == "text-classification"
    static = lowering.build(
        GraphOptions(1, length, normalize=False, prune_last_layer=is_pruned)
    ).model
    rows = [
        static({name: value[row : row + 1] for name, value in inputs.items()})
        for row in range(len(inputs["input_ids"]))
    ]
    for name, expected in plain.model(inputs).items():
        atol = 1e-4 * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(dynamic[name], expected, atol=atol)
        np.testing.assert_allclose(np.concatenate([row[name] for row in rows]), expected, atol=atol)


def test_sigmoid_is_near_gelu() -> None:
    """At most 0.0203, near 2.3 on either side (Hendrycks and Gimpel 2016, section 2)."""
    x = tf.linspace(-8.0, 8.0, 4001)
    error = np.abs(tf.nn.gelu(x) - x * tf.sigmoid(GELU_FACTOR * x)).max()
    assert 0.02 < error < 0.0204


@pytest.mark.usefixtures("sigmoid_gelu")
def test_pieces_with_their_clipping_are_the_plain_graph(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    """Outliers are squared apart, the variances clipped in three pieces."""
    checkpoint = outlier_checkpoint("bert", small=True)
    plain = build(checkpoint.config, "text-classification", 2, GraphOptions())
    load_weights(plain.model, checkpoint, "text-classification")
    shape = Shape("text-classification", 2, 16, graph="edgetpu")
    lowering = lowered(checkpoint, shape, sequences)
    for name, plan in lowering.decided["plans"].items():
        low, high = plan.least_variance, plan.limits[-1]
        limits = tuple(low * (high / low) ** share for share in (1 / 3, 2 / 3, 1.0))
        lowering.decided["plans"] = {
            **lowering.decided["plans"],
            name: NormPlan(low, limits, has_mean=True),
        }
    inputs = {"input_ids": sequences[0][np.newaxis]}
    inputs["attention_mask"] = np.ones_like(inputs["input_ids"])
    inputs["token_type_ids"] = np.zeros_like(inputs["input_ids"])
    expected = plain.model(inputs)["logits"]
    clipped = lowering.build_clipped(GraphOptions()).model(inputs)["logits"]
    np.testing.assert_allclose(clipped, expected, atol=1e-4)


@pytest.mark.parametrize("is_static", [True, False])
def test_product_of_matrices(is_static: bool) -> None:
    random = np.random.RandomState(0)
    left, right = (random.randn(*shape).astype(np.float32) for shape in ((5, 3), (3, 7)))

    def product(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return sum_of_blocks([repeat([x, y]) * as_row(y), y])

    sizes = (lambda *shape: shape) if is_static else (lambda *shape: (None, None, 1, None))
    run = tf.function(
        product, input_signature=[tf.TensorSpec(sizes(1, *s)) for s in ((5, 1, 3), (3, 1, 7))]
    )
    found = run(left.reshape(1, 5, 1, 3), right.reshape(1, 3, 1, 7))
    np.testing.assert_allclose(np.reshape(found, (5, 7)), left @ right, rtol=1e-5)


def test_softmax_in_two_factors() -> None:
    scores = keras.Input((4, 2, 6))
    blocks = EdgeTpuBlocks(parse_config(cases.CONFIGS["bert"]), GraphOptions())
    shares, root = blocks._shares("attention", scores)
    random = np.random.RandomState(0)
    values = random.uniform(-9, 9, (3, 4, 2, 6)).astype(np.float32)
    # What is masked lies as deep as the ranges reach.
    values[:, :, :, 4:] = values[:, :, :, :4].max(-1, keepdims=True) - HALF_MASK_DEPTH - 20
    found = keras.Model(scores, [shares, root])(values)
    expected = tf.nn.softmax(2 * values)
    np.testing.assert_allclose(found[0] * found[1], expected, atol=1e-6)
    assert float(tf.reduce_max(found[0])) <= 1 + 1e-6


def test_types_are_rows_of_their_table() -> None:
    layer = TypeEmbedding(2, 5)
    types = tf.constant([0.0, 1, 1], shape=(1, 3, 1, 1))
    found = layer(types)
    np.testing.assert_allclose(found[0, :, 0], layer.embeddings.numpy()[[0, 1, 1]], atol=1e-7)


def test_sum_of_tokens() -> None:
    x = np.random.RandomState(0).randn(1, 6, 1, 4).astype(np.float32)
    np.testing.assert_allclose(sum_of_tokens(x)[0, 0, 0], x.sum((0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "graph"), [("bert", "edgetpu"), ("distilbert", "edgetpu-plain")]
)
def test_unfolding_gives_the_weights_back(
    architecture: str,
    graph: str,
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
) -> None:
    checkpoint = outlier_checkpoint(architecture, small=True)
    shape = Shape("text-classification", 2, 16, graph=graph)
    lowering = lowered(checkpoint, shape, sequences)
    wanted = {item.name: item.variable.numpy() for item in parameters(lowering.weights)}
    unfolded = lowering.unfold(lowering.build(GraphOptions()).model)
    for parameter in parameters(unfolded):
        np.testing.assert_allclose(parameter.variable, wanted[parameter.name], rtol=1e-6, atol=1e-9)


def _checked(
    checkpoint: Checkpoint, task: str, graph: str, sequences: list[np.ndarray]
) -> dict[str, Any]:
    graphs = prepared(checkpoint, Shape(task, 2, 16, graph=graph), sequences).graphs()
    path = checkpoint.folder.with_suffix(".tflite")
    path.write_bytes(inputs_first(to_tflite(graphs, "int8", "tflite-runtime")))
    report: dict[str, Any] = as_json(check(path))
    return report


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("bert", "text-classification"),
        pytest.param("bert", "question-answering", marks=pytest.mark.slow),
        pytest.param("mobilebert-layer-norm", "sentence-embedding", marks=pytest.mark.slow),
    ],
)
def test_all_but_inputs_are_mapped(
    architecture: str,
    task: str,
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
) -> None:
    checkpoint = outlier_checkpoint(architecture, task, small=True)
    report = _checked(checkpoint, task, "edgetpu", sequences)
    rows = report["operators"]
    left = [row["operator"] for row in rows if row["class"] == "CPU"]
    assert set(left) == ON_CPU
    assert left.count("GATHER") == 1
    assert [row["class"] == "CPU" for row in rows] == [True] * len(left) + [False] * (
        len(rows) - len(left)
    )
    assert report["problems"] == report["questions"] == []
    assert report["readings"]["strict"] == len(rows) - len(left)
    assert sum(part["mappable"] for part in report["partitions"]) == 1
    assert {row["dtype"] for row in rows[len(left) :]} == {"INT8"}


@pytest.mark.slow
def test_plain_attention_depends_on_two_questions(
    tmp_path: Path, sequences: list[np.ndarray]
) -> None:
    checkpoint = Checkpoint(toy_folders.write_folder(tmp_path / "toy"))
    report = _checked(checkpoint, "text-classification", "edgetpu-plain", sequences)
    assert report["problems"] == []
    layers, heads = 2, 4
    questions = {row["question"].split()[0]: row["operators"] for row in report["questions"]}
    # The last layer's SOFTMAX is for [CLS] alone: one row.
    assert questions == {"BATCH_MATMUL": 2 * layers * heads, "SOFTMAX": (layers - 1) * heads}
    left = sum(row["operator"] in ON_CPU for row in report["operators"])
    assert report["readings"]["generous"] == len(report["operators"]) - left
