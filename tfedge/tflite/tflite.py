"""Turns a static Keras graph into the bytes of a .tflite by TFLiteConverter."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.data.batches import PIXELS
from tfedge.errors import InputError
from tfedge.quantize.modes import INTEGER_QUANTIZATIONS, MIXED_QUANTIZATIONS
from tfedge.tflite.edit import halve_weights
from tfedge.tflite.flatbuffer import merge

# What `to_tflite` makes.
_CONVERTED = ("float32", "float16", *INTEGER_QUANTIZATIONS, *MIXED_QUANTIZATIONS)
RUNTIMES = ("tflite-runtime", "litert")
SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


def signature_name(length: int, longest: int) -> str:
    """The key of the signature of a graph of `length` tokens; the longest is the default one."""
    return SIGNATURE if length == longest else f"tokens_{length}"


def to_tflite(graphs: Mapping[int, keras.Model], quantization: str, runtime: str) -> bytes:
    """Converts models with static input shapes to one file with a signature for each.

    Raises InputError for an unknown quantization or runtime.

    Args:
        graphs: by length, the longest first. For integers, graphs with their ranges put in by
            `tfedge.quantize.fake_quant`; the converter then needs no representative dataset, and
            would only add min-max ranges to tensors that are meant to stay in float.
        quantization: int8, int8-float-io, mixed, auto, float16 or float32.
        runtime: one of `RUNTIMES`, which decides how dense weights are quantised.
    """
    if quantization not in _CONVERTED:
        known = ", ".join(_CONVERTED)
        raise InputError(f"unknown quantization {quantization!r}; known are {known}")
    if runtime not in RUNTIMES:
        raise InputError(f"unknown runtime {runtime!r}; known are {', '.join(RUNTIMES)}")

    def configure(converter: Any) -> None:
        if not quantization.startswith("float"):
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "int8":
            converter.inference_output_type = tf.int8
            if any(PIXELS in model.input_names for model in graphs.values()):
                converter.inference_input_type = tf.uint8  # as images are; ids stay int32
        # Per channel is more exact, but tflite-runtime 2.14 crashes on it on 64-bit ARM.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = (
            runtime == "tflite-runtime"
        )

    longest = max(graphs)
    named = {signature_name(length, longest): model for length, model in graphs.items()}
    content = convert_with(named, configure)
    return halve_weights(content) if quantization == "float16" else content


def to_tflite_int16x8(
    graphs: Mapping[int, keras.Model],
    samples: Callable[[int], Iterable[Mapping[str, np.ndarray]]],
) -> bytes:
    """Converts models with static input shapes to 8-bit weights and 16-bit activations.

    Each is converted by itself: of several signatures TFLiteConverter 2.21 calibrates the first
    alone.

    Args:
        graphs: by length, the longest first.
        samples: from a length to calibration inputs by name, (1, length) each.
    """
    ops = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    parts: dict[str, bytes] = {}
    for length, model in graphs.items():

        def configure(converter: Any, length: int = length) -> None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_ops = [ops]
            converter.representative_dataset = lambda: iter(samples(length))

        name = signature_name(length, max(graphs))
        parts[name] = convert_with({name: model}, configure)
    return merge(parts)


def convert_with(graphs: Mapping[str, keras.Model], configure: Callable[[Any], None]) -> bytes:
    """Converts models to one file, with a signature for each, as `configure` has the converter do."""
    with tempfile.TemporaryDirectory(prefix="tfedge-") as folder:
        save_graphs(graphs, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(graphs))
        configure(converter)
        return bytes(converter.convert())


def save_graphs(graphs: Mapping[str, keras.Model], folder: str | Path) -> None:
    """Writes a SavedModel with a signature for each of some models."""
    module = tf.Module()
    # The SavedModel must own the functions' variables; of the models it would save all metadata too.
    module.weights = list(
        {id(item): item for graph in graphs.values() for item in graph.variables}.values()
    )
    functions = {name: _concrete(model) for name, model in graphs.items()}
    tf.saved_model.save(module, str(folder), signatures=functions)


def _concrete(model: keras.Model) -> Any:
    # Layers have no Python control flow to translate, which takes longer than tracing them.
    function = tf.function(lambda **inputs: model(inputs), autograph=False)
    specs = {item.name: tf.TensorSpec(item.shape, item.dtype, item.name) for item in model.inputs}
    return function.get_concrete_function(**specs)
