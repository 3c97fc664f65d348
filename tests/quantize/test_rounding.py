"""Rounding of constants: against numpy, against what the converter wrote, and its gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from lowered import prepared

from tfedge.models.blocks import GraphOptions
from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.prepare import Shape, prepare
from tfedge.quantize.rounding import (
    rounded_constant,
    rounded_weights,
    safe_rsqrt,
    with_rounding,
)
from tfedge.tflite.flatbuffer import parse
from tfedge.tflite.tflite import to_tflite


def test_weights_by_numpy() -> None:
    weights = np.random.RandomState(0).randn(7, 5).astype(np.float32)
    scale = np.abs(weights).max(axis=0) / 127
    integers = np.rint(weights / scale)
    assert (integers.min(axis=0) == -127).any()
    assert np.abs(integers).max(axis=0).tolist() == [127] * 5
    np.testing.assert_allclose(rounded_weights(weights), integers * scale, rtol=1e-6)


def test_weights_by_hand() -> None:
    # Steps of 2 and of 1: each output has a scale of its own.
    weights = tf.constant([[254.0, -127.0], [2.9, 2.9], [-3.1, -3.1]])
    np.testing.assert_allclose(rounded_weights(weights), [[254, -127], [2, 3], [-4, -3]], rtol=1e-6)


def test_an_output_without_weights_stays_so() -> None:
    assert np.array_equal(rounded_weights(tf.zeros((3, 2))), np.zeros((3, 2)))


def test_constant_by_hand() -> None:
    constant = tf.constant([510.0, 2.9, 0.9])
    np.testing.assert_allclose(rounded_constant(constant), [510, 2, 0], rtol=1e-6)


def test_gradients_pass_the_rounding() -> None:
    weights = tf.Variable([[1.0, -2.0], [0.123, 0.456]])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(rounded_weights(weights) * [[1.0, 2.0], [3.0, 4.0]])
    assert tape.gradient(total, weights).numpy().tolist() == [[1, 2], [3, 4]]


def test_slope_of_a_variance_of_zero_is_a_number() -> None:
    variance = tf.Variable([0.0, 4.0])
    with tf.GradientTape() as tape:
        inverse = tf.clip_by_value(safe_rsqrt(variance), 0.0, 3.0)
    assert inverse.numpy().tolist() == [3, 0.5]
    assert tape.gradient(inverse, variance).numpy().tolist() == [0, -0.0625]


@pytest.mark.parametrize(
    ("architecture", "graph"),
    [
        ("bert", "integer"),
        pytest.param("mobilebert", "integer", marks=pytest.mark.slow),
        pytest.param("bert", "edgetpu", marks=pytest.mark.slow),
    ],
)
def test_constants_are_those_of_the_converted_file(
    architecture: str,
    graph: str,
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
) -> None:
    task = "text-classification"
    checkpoint = outlier_checkpoint(architecture, task, small=True)
    shape = Shape(task, 2, 16, graph=graph)
    made = prepared(checkpoint, shape, sequences)
    blocks = with_rounding(made.lowering.blocks)
    student = made.lowering.build(GraphOptions(), blocks).model
    stored = _constants(to_tflite(made.graphs(), "int8", "tflite-runtime"))
    layers = [layer for layer in student.layers if hasattr(layer, "constant")]
    assert len(layers) >= 8
    for layer in layers:
        # Spread is exact, having one weight a channel: what it holds is in the file too.
        wanted = np.sort(np.ravel(layer.constant()))
        errors = [np.abs(found - wanted).max() for found in stored[wanted.size]]
        assert min(errors) <= 1e-5 * np.abs(wanted).max(), layer.name


def _constants(content: bytes) -> dict[int, list[np.ndarray]]:
    """The int8 constants of a file as real numbers, ascending, by how many there are of them."""
    tree, schema = parse(content)
    found: dict[int, list[np.ndarray]] = {}
    for tensor in tree.subgraphs[0].tensors:
        data = tree.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.INT8 or data is None:
            continue
        quantization = tensor.quantization
        integers = np.frombuffer(bytes(data), np.int8).astype(np.float32)
        integers = integers.reshape(tensor.shape if len(tensor.shape) else (1,))
        sizes = [1] * integers.ndim
        sizes[quantization.quantizedDimension] = -1
        scale = np.reshape(quantization.scale, sizes)
        values = (integers - np.reshape(quantization.zeroPoint, sizes)) * scale
        found.setdefault(integers.size, []).append(np.sort(values, axis=None))
    return found


def test_decisions_are_optional(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    """Given back what it decided, `prepare` builds the same graph without any text."""
    task = "text-classification"
    checkpoint = outlier_checkpoint("mobilebert", task, small=True)  # not to be centred
    shape = Shape(task, 2, 16)
    made = prepared(checkpoint, shape, sequences)
    graphs, calibration = made.graphs(), made.calibration
    decisions = made.lowering.decisions(calibration)
    repeated = prepare(checkpoint, shape, [], decisions=decisions)
    again, same = repeated.graphs(), repeated.calibration
    assert same == calibration
    for weights, others in zip(graphs[16].weights, again[16].weights, strict=True):
        assert np.array_equal(weights, others)
