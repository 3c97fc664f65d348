"""The integer graph computes what the plain graph computes, and its layer norms do so in pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cases
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
import toy_images
from lowered import lowered

from tfedge import tasks
from tfedge.architectures.kinds import Seen
from tfedge.data.batches import as_inputs
from tfedge.models.blocks import GraphOptions, Pixels
from tfedge.models.build import Encoder, build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.config import parse_config
from tfedge.quantize.fake_quant import fake_quant_tap
from tfedge.quantize.integer import IntegerBlocks, NormPlan
from tfedge.quantize.layers import PointwiseDense, TrigramDense, sum_of_squares
from tfedge.quantize.prepare import Shape
from tfedge.quantize.ranges import Range

CASES = [
    ("bert", "text-classification"),
    ("bert", "token-classification"),
    ("bert", "sentence-embedding"),
    ("bert", "question-answering"),
    ("distilbert", "text-classification"),
    ("mobilebert", "text-classification"),
    pytest.param("mobilebert", "token-classification", marks=pytest.mark.slow),
    pytest.param("mobilebert-layer-norm", "text-classification", marks=pytest.mark.slow),
    pytest.param("mobilebert-no-bottleneck", "text-classification", marks=pytest.mark.slow),
    pytest.param("mobilebert-no-trigram", "text-classification", marks=pytest.mark.slow),
]


# One layer after another; of the others one is enough.
DEEPER = ("bert", "text-classification")


@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_same_outputs_as_the_plain_graph(
    architecture: str,
    task: str,
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
) -> None:
    """And, in encoders of texts, norms stand behind attention and feed-forward network."""
    checkpoint = outlier_checkpoint(architecture, task, small=(architecture, task) != DEEPER)
    plain = build(checkpoint.config, task, 2, GraphOptions(normalize=False))
    load_weights(plain.model, checkpoint, task)
    lowering = lowered(checkpoint, Shape(task, 2, 16, normalize=False), sequences)
    assert not lowering.pre_norm
    lowering.decided["plans"] = {}
    inputs = cases.batch(checkpoint.config.source)
    # All rows of the last layer, and the first alone where the head reads no other.
    for pruned in {False, tasks.find(task).reads_first_token_only(checkpoint.config)}:
        options = GraphOptions(normalize=False, prune_last_layer=pruned)
        actual = lowering.build(options).model(inputs)
        for name, expected in plain.model(inputs).items():
            scale = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(actual[name], expected, atol=1e-4 * scale)


OF_IMAGES = [
    *("vit-wide.classes5", "deit.teacher5", "vit.features"),
    *(
        "dinov2-larger.classes5",
        "dinov2_with_registers.classes5",
        "dinov2.features",
        "clip.features",
        "siglip.features",
        "beit.classes5",
        "dinov3_vit.features",
        "swin.classes5",
        pytest.param("swin-wide.classes5", marks=pytest.mark.slow),
    ),
]


@pytest.mark.parametrize("case", [*OF_IMAGES, "deit.classes5-fresh"])
def test_same_outputs_as_the_plain_graph_of_images(case: str, tmp_path: Path) -> None:
    config, task, num_labels = cases.parse(case.removesuffix("-fresh"))
    tensors = cases.random_checkpoint(tmp_path, config, task, 1, num_labels)
    if case.endswith("-fresh"):  # a first token of zeros, whose norm has a variance of 0
        for name in ("cls_token", "position_embeddings"):
            tensors[f"deit.embeddings.{name}"][:, 0] = 0
        cases.write_checkpoint(tmp_path, cases.hf_config(config, task, num_labels), tensors)
    checkpoint = Checkpoint(tmp_path)
    made_of = Pixels((1 / 60, 1 / 50, 1 / 40), (-2.0, -2.5, -3.0))
    length = checkpoint.config.max_position_embeddings
    shape = Shape(task, num_labels, length, normalize=False, pixels=made_of)
    samples = [toy_images.draw("blob", seed, *checkpoint.config.image_size) for seed in range(6)]
    inputs = as_inputs(samples, 0, ["pixel_values"])
    plain = build(checkpoint.config, task, num_labels, GraphOptions(normalize=False))
    load_weights(plain.model, checkpoint, task)
    normalised = inputs["pixel_values"] * np.array(made_of.scale) + np.array(made_of.offset)
    (expected,) = plain.model({"pixel_values": normalised.astype(np.float32)}).values()
    lowering = lowered(checkpoint, shape, samples)
    # Only dense layers add to the residual stream, and `centre` takes their means out; that of a CLIP
    # or a Swin starts from a norm, and the head of a SigLIP reads what it adds up.
    plans = lowering.decided["plans"]
    has_means = any(plan.has_mean for plan in plans.values())
    assert has_means is case.startswith(("clip", "siglip", "swin"))
    if case.startswith("swin"):  # of which some are small enough to be left in
        lowering.decided["plans"] = {
            name: dataclasses.replace(plan, has_mean=True) for name, plan in plans.items()
        }
    for pruned in {False, tasks.find(task).reads_first_token_only(checkpoint.config)}:
        encoder = lowering.build_clipped(shape.options(prune_last_layer=pruned))
        (actual,) = encoder.model(inputs).values()
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(actual, expected, atol=1e-4 * scale)
    uneven = [_unevenness(encoder, inputs) for encoder in (plain, lowering.dynamic)]
    assert uneven[1] < 0.9 * uneven[0]


def _unevenness(encoder: Encoder, inputs: dict[str, np.ndarray]) -> float:
    """The largest channel of the last norm's output in units of the mean channel."""
    norm = encoder.config.architecture.parts.of_layer(0).ffn_norm
    tapped = keras.Model(encoder.model.input, encoder.tapped[norm])
    found = np.abs(tapped(inputs).numpy())
    values = found.reshape(-1, found.shape[-1]).max(0)
    return float(values.max() / values.mean())


def test_static_graph_is_the_dynamic_one(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint("bert", small=True)
    lowering = lowered(checkpoint, Shape("text-classification", 2, 16), sequences)
    lowering.decided["plans"] = {}
    inputs = {name: value[:1] for name, value in cases.batch(checkpoint.config.source).items()}
    length = inputs["input_ids"].shape[1]
    dynamic = lowering.build(GraphOptions()).model(inputs)["logits"]
    static = lowering.build(GraphOptions(1, length)).model(inputs)["logits"]
    np.testing.assert_allclose(static, dynamic, atol=1e-4)


@pytest.mark.parametrize("tokens", [1, 6, 32, 37])
def test_sum_of_squares_by_blocks(tokens: int) -> None:
    x = np.random.RandomState(0).randn(1, tokens, 1, 5).astype(np.float32)
    np.testing.assert_allclose(
        sum_of_squares(tf.constant(x)), (x**2).sum(-1, keepdims=True), rtol=1e-5
    )


def test_pointwise_dense_is_a_dense_layer() -> None:
    random = np.random.RandomState(0)
    x = random.randn(2, 3, 1, 4).astype(np.float32)
    layer = PointwiseDense(5, bias_initializer="random_normal")
    y = layer(x)
    np.testing.assert_allclose(y, x @ layer.kernel.numpy() + layer.bias.numpy(), atol=1e-5)


def test_trigram_dense_reads_next_this_and_previous() -> None:
    x = np.arange(1.0, 4.0, dtype=np.float32).reshape(1, 3, 1, 1)
    layer = TrigramDense(1)
    layer.build((1, 3, 1, 1))
    layer.set_weights([np.array([[100.0], [10.0], [1.0]]), np.zeros(1)])
    # 100 * next + 10 * this + previous, zeros beyond the ends.
    np.testing.assert_allclose(np.ravel(layer(x)), [210, 321, 32])


def test_plan_of_two_pieces_covers_both() -> None:
    plan = NormPlan(least_variance=0.25, limits=(4.0, 64.0), has_mean=True)
    blocks = IntegerBlocks(
        parse_config(cases.CONFIGS["bert"]), GraphOptions(), {"plans": {"norm": plan}}
    )
    blocks.norm("norm", keras.Input((8, 1, 32)))
    ranges = {name: kind.bounds(Seen()) for name, kind in blocks.kinds.items()}
    assert ranges["norm.0.variance"] == (0, 4.25)  # with room for the square of the mean
    assert ranges["norm.0.central"] == (0, 4)
    assert ranges["norm.0.rsqrt"] == (0, 2)  # 1 / sqrt(0.25)
    # The second piece counts in units of the least variance that it tells from less.
    assert ranges["norm.1.central"] == (0, 16)
    assert ranges["norm.1.rsqrt"] == (0, 1)


@pytest.mark.parametrize("in_turn", [True, False])
def test_pieces_with_their_clipping_are_the_plain_graph(
    in_turn: bool, outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint("bert", small=True)
    plain = build(checkpoint.config, "text-classification", 2, GraphOptions())
    load_weights(plain.model, checkpoint, "text-classification")
    lowering = lowered(checkpoint, Shape("text-classification", 2, 16), sequences)
    # Limits in the midst of the variances, so that every piece has tokens on either side.
    lowering.decided["plans"] = {
        name: NormPlan(plan.least_variance, _thirds(plan), has_mean=True, in_turn=in_turn)
        for name, plan in lowering.decided["plans"].items()
    }
    inputs = {"input_ids": sequences[0][np.newaxis]}
    inputs["attention_mask"] = np.ones_like(inputs["input_ids"])
    inputs["token_type_ids"] = np.zeros_like(inputs["input_ids"])
    expected = plain.model(inputs)["logits"]
    clipped = lowering.build_clipped(GraphOptions()).model(inputs)["logits"]
    np.testing.assert_allclose(clipped, expected, atol=1e-4)
    unclipped = lowering.build(GraphOptions()).model(inputs)["logits"]
    assert np.abs(unclipped - expected).max() > 1e-2


def _thirds(plan: NormPlan) -> tuple[float, ...]:
    low, high = plan.least_variance, plan.limits[-1]
    return tuple(low * (high / low) ** share for share in (1 / 3, 2 / 3, 1.0))


class Everything(dict[str, Range]):
    """The same range for any name."""

    def get(self, name: str, default: object = None) -> Range:  # type: ignore[override]
        return Range(-1.0, 1.0)


@pytest.mark.slow
def test_as_deep_as_mobilebert() -> None:
    """24 layers of four feed-forward networks, every tensor with a layer of its own."""
    fields = {**cases.CONFIGS["mobilebert"], "num_hidden_layers": 24}
    options = GraphOptions(tap=fake_quant_tap(Everything()))
    built = build(parse_config(fields), "text-classification", 2, options, IntegerBlocks)
    assert len(built.model.layers) > 1000
