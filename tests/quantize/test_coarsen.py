"""Weights of fewer values: in a graph, in the converted file, and left alone where they should be."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import numpy as np
import pytest
import tf_keras as keras
from lowered import prepared

from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.coarsen import round_weights
from tfedge.quantize.prepare import Shape, prepare
from tfedge.tflite.flatbuffer import parse
from tfedge.tflite.tflite import to_tflite

TASK = "text-classification"


def encoder() -> keras.Model:
    """A table and two dense layers."""
    ids = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(50, 24, name="table")(ids)
    x = keras.layers.Dense(40, bias_initializer="normal", name="first")(x)
    return keras.Model(ids, keras.layers.Dense(3, name="second")(x))


@pytest.mark.parametrize(("bits", "count"), [(4, 15), (5.5, 43), (6, 63)])
def test_each_output_takes_few_values_near_its_weights(bits: float, count: int) -> None:
    model = encoder()
    before = {layer.name: layer.get_weights() for layer in model.layers}
    kernel = before["first"][0]
    kernel[kernel < 0] = 0
    kernel[:, 5] = 0
    model.get_layer("first").set_weights([kernel, before["first"][1]])
    round_weights(model, bits)
    rounded, bias = model.get_layer("first").get_weights()
    assert max(len(np.unique(column)) for column in rounded.T) <= count
    assert len(np.unique(model.get_layer("table").get_weights()[0])) <= count
    steps = np.abs(kernel).max(axis=0) / (count // 2)
    assert np.all(np.abs(rounded - kernel) <= 0.5001 * steps)
    assert not rounded[kernel == 0].any()
    assert np.array_equal(bias, before["first"][1])


def test_eight_bits_change_nothing() -> None:
    model = encoder()
    before = model.get_weights()
    round_weights(model, 8)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_float_layers_stay() -> None:
    model = encoder()
    first, second = (model.get_layer(name).kernel.numpy() for name in ("first", "second"))
    round_weights(model, 5, {"second"})
    assert np.array_equal(model.get_layer("second").kernel, second)
    assert not np.array_equal(model.get_layer("first").kernel, first)


def test_file_has_few_values_and_compresses_better(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint("bert", TASK, small=True)
    shape = Shape(TASK, 2, 16)
    made = prepared(checkpoint, shape, sequences)
    decisions, sizes = made.lowering.decisions(made.calibration), {}
    for bits in (8, 5):
        graphs = prepare(checkpoint, shape, [], decisions=decisions, weight_bits=bits).graphs()
        matrices = _matrices(to_tflite(graphs, "int8", "tflite-runtime"))
        assert len(matrices) >= 6
        sizes[bits] = len(gzip.compress(b"".join(matrix.tobytes() for matrix in matrices)))
    assert sizes[5] < 0.75 * sizes[8]
    assert max(len(np.unique(row)) for matrix in matrices for row in matrix) <= 31


def _matrices(content: bytes) -> list[np.ndarray]:
    """The int8 weights of convolutions, (outputs, inputs)."""
    tree, schema = parse(content)
    found = []
    for tensor in tree.subgraphs[0].tensors:
        data = tree.buffers[tensor.buffer].data
        is_matrix = tensor.type == schema.TensorType.INT8 and len(tensor.shape) == 4
        if data is not None and is_matrix and tensor.shape[0] > 1 and tensor.shape[3] > 1:
            values = np.frombuffer(bytes(data), np.int8)
            found.append(values.reshape(tensor.shape[0], -1))
    return found
