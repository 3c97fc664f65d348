"""Turns a static Keras graph into the bytes of a .tflite by TFLiteConverter."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tfedge.errors import InputError

INTEGER_QUANTIZATIONS = ("int8", "int8-float-io")
# Integers where that keeps the accuracy, and floating point elsewhere.
MIXED_QUANTIZATIONS = ("mixed", "auto")
QUANTIZATIONS = (
    *INTEGER_QUANTIZATIONS,
    *MIXED_QUANTIZATIONS,
    "dynamic",
    "float16",
    "float32",
)
RUNTIMES = ("tflite-runtime", "litert")
SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


def signature_name(length: int, longest: int) -> str:
    """The key of the signature of a graph of `length` tokens; the longest is the default one."""
    return SIGNATURE if length == longest else f"tokens_{length}"


def to_tflite(graphs: Mapping[int, keras.Model], quantization: str, runtime: str) -> bytes:
    """Converts models with static input shapes to one file with a signature for each.

    Args:
        graphs: by length, the longest first. For integers, graphs with their ranges put in by
            `tfedge.quantize.fake_quant`; the converter then needs no representative dataset, and
            would only add min-max ranges to tensors that are meant to stay in float.
        quantization: one of `QUANTIZATIONS`.
        runtime: one of `RUNTIMES`, which decides how dense weights are quantised.

    Raises:
        InputError: an unknown quantization or runtime.
    """
    for name, value, known in (
        ("quantization", quantization, QUANTIZATIONS),
        ("runtime", runtime, RUNTIMES),
    ):
        if value not in known:
            raise InputError(f"unknown {name} {value!r}; known are {', '.join(known)}")
    module = tf.Module()
    # The SavedModel must own the functions' variables; of the models it would save all metadata too.
    module.weights = [variable for graph in graphs.values() for variable in graph.variables]
    functions = {
        signature_name(length, max(graphs)): _concrete(model) for length, model in graphs.items()
    }
    with tempfile.TemporaryDirectory(prefix="tfedge-") as folder:
        tf.saved_model.save(module, folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        _SETTINGS[quantization](converter)
        # Per channel is more exact, but tflite-runtime 2.14 refuses it (dynamic) or crashes on
        # 64-bit ARM (int8).
        converter._experimental_disable_per_channel_quantization_for_dense_layers = (
            runtime == "tflite-runtime"
        )
        return bytes(converter.convert())


def _concrete(model: keras.Model) -> Any:
    return tf.function(lambda **inputs: model(inputs)).get_concrete_function(
        **{
            tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name)
            for tensor in model.inputs
        }
    )


def _float32(converter: Any) -> None:
    del converter  # its defaults


def _float16(converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _quantized(converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_output_type = tf.int8


_SETTINGS: dict[str, Callable[[Any], None]] = {
    "float32": _float32,
    "float16": _float16,
    "dynamic": _quantized,
    "int8": _int8,
    "int8-float-io": _quantized,
    "mixed": _quantized,
    "auto": _quantized,
}
