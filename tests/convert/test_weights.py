"""Weights of dense layers that compute in float, rounded after conversion."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tfedge.convert.inspect import inspect
from tfedge.convert.weights import layer_of, quantize_rows, quantize_weights

_PROGRAM = """
import sys
import numpy as np, tensorflow as tf
weights = tf.constant(np.random.RandomState(0).randn(24, 10).astype(np.float32))
function = tf.function(
    lambda x: {"y": tf.matmul(x, weights, name="layer/MatMul")},
    input_signature=[tf.TensorSpec((1, 24), tf.float32, "x")],
)
converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
open(sys.argv[1], "wb").write(converter.convert())
"""
_RUN = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
x = np.random.RandomState(1).randn(1, 24).astype(np.float32)
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
interpreter.invoke()
np.save(sys.argv[2], interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
"""


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.floats(-1e3, 1e3, width=32),
    ),
    st.sampled_from([4, 8]),
)
def test_rows_are_no_further_off_than_by_their_peak(weights: np.ndarray, bits: int) -> None:
    integers, scales = quantize_rows(weights, bits)
    top = 2 ** (bits - 1) - 1
    assert integers.dtype == np.int8
    assert np.abs(integers).max() <= top
    error = ((integers * scales[:, None] - weights) ** 2).sum(axis=1)
    peak_scales = np.maximum(np.abs(weights).max(axis=1), np.finfo(np.float32).tiny) / top
    plain = np.rint(weights / peak_scales[:, None]) * peak_scales[:, None]
    assert (error <= ((plain - weights) ** 2).sum(axis=1) * (1 + 1e-4) + 1e-6).all()


def test_an_outlier_is_clipped_where_that_is_less_of_an_error() -> None:
    row = np.r_[np.random.RandomState(0).randn(4000), 9.0].astype(np.float32)
    _, scales = quantize_rows(row[None], 4)
    assert scales[0] < 9.0 / 7


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("bert/a.dense/MatMul", "a.dense"),
        ("bert/a.dense.act/Relu;bert/a.dense/BiasAdd", "a.dense"),
        ("bert/xa.dense/MatMul", None),
    ],
)
def test_a_tensor_is_of_the_layer_that_its_name_has(name: str, layer: str | None) -> None:
    assert layer_of(name, {"a.dense"}) == layer


@pytest.mark.parametrize("bits", [4, 8])
def test_litert_computes_with_rounded_weights(bits: int, tmp_path: Path) -> None:
    plain, rounded = tmp_path / "plain.tflite", tmp_path / "rounded.tflite"
    subprocess.run([sys.executable, "-c", _PROGRAM, str(plain)], check=True, capture_output=True)
    content = quantize_weights(plain.read_bytes(), lambda name: bits)
    rounded.write_bytes(content)
    assert inspect(content).constants == {f"INT{bits}": 240 * bits // 8}
    outputs = []
    for path in (plain, rounded):
        made = path.with_suffix(".npy")
        subprocess.run([sys.executable, "-c", _RUN, str(path), str(made)], check=True)
        outputs.append(np.load(made))
    weights = np.random.RandomState(0).randn(24, 10).astype(np.float32)
    integers, scales = quantize_rows(weights.T.copy(), bits)
    x = np.random.RandomState(1).randn(1, 24).astype(np.float32)
    np.testing.assert_allclose(outputs[0], x @ weights, atol=1e-4)
    # The kernel rounds the input to 8 bits too.
    expected = x @ (integers * scales[:, None]).T
    np.testing.assert_allclose(outputs[1], expected, atol=0.05 * np.abs(expected).max())
