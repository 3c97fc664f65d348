"""Turns a Keras encoder into ONNX by tf2onnx, in the form that TensorRT reads.

TensorRT 8.2, the last one for the Jetson Nano, supports "operators up to Opset 13", without
Reciprocal: https://github.com/onnx/onnx-tensorrt/blob/release/8.2-GA/docs/operators.md
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.errors import MissingPackageError, RejectedModelError

# The newest that TensorRT 8.2 reads.
OPSET = 13


def to_onnx(model: keras.Model, opset: int = OPSET) -> bytes:
    """The ONNX of a Keras model, inputs and outputs under their Keras names.

    Args:
        opset: version of ONNX's operators.

    Raises:
        MissingPackageError: tf2onnx is not installed.
    """
    converter = _package("tf2onnx.convert")
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    names = [tensor.name for tensor in model.inputs]
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in model.inputs]

    def call(*tensors: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return model(dict(zip(names, tensors, strict=True)))

    with contextlib.redirect_stdout(io.StringIO()):
        proto, _ = converter.from_function(
            tf.function(call, autograph=False),
            input_signature=signature,
            opset=opset,
            custom_op_handlers=_HANDLERS,
        )
    return bytes(proto.SerializeToString())


def _from_one(outer: str, inner: str) -> Callable[[Any, Any, str, Any], None]:
    """Makes what writes an operator as `outer` of 1 and of `inner` of its input."""

    def write(graph: Any, node: Any, name: str, args: Any) -> None:
        del args
        inputs, outputs = list(node.input), list(node.output)
        like = {"shapes": [graph.get_shape(outputs[0])], "dtypes": [graph.get_dtype(outputs[0])]}
        graph.remove_node(name)
        one = graph.make_const(f"{name}/one", np.array(1, np.float32)).output[0]
        part = graph.make_node(inner, inputs, **like).output[0]
        graph.make_node(outer, [one, part], outputs=outputs, **like)

    return write


# What tf2onnx lacks, or writes so that TensorRT does not read it: GELU is spelt with the complement
# of erf, which ONNX has not, and TensorRT has no Reciprocal.
_HANDLERS: Mapping[str, Any] = {
    "Erfc": (_from_one("Sub", "Erf"), []),
    "Rsqrt": (_from_one("Div", "Sqrt"), []),
}


def run_onnx(content: bytes, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs by name that ONNX Runtime computes.

    Args:
        inputs: as the model's, by name.

    Raises:
        MissingPackageError: onnxruntime is not installed.
        RejectedModelError: it refused the model.
    """
    runtime = _package("onnxruntime")
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))
    # ONNX Runtime has a dozen kinds of errors of its own, from RuntimeError or Exception alone.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise RejectedModelError(
            f"ONNX Runtime refused the exported model ({reason[:300]}); this is a fault of tfedge or "
            "of tf2onnx, please report"
        ) from error


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"exporting to ONNX needs tf2onnx and onnxruntime ({error}): pip install 'tfedge[onnx]'"
        ) from error
