"""Converts a checkpoint to .tflite as the tutorials do; see `benchmarks.peers.settings`.

Writes OUTPUT/KIND/VARIANT.tflite for each --kind, without metadata:

    float     float32
    dynamic   Optimize.DEFAULT
    int8      Optimize.DEFAULT with a representative dataset, integer operators only
    masked    float32 with a mask that an 8-bit range can hold; what ai-edge-quantizer starts from

in the variants `fixed`, one graph of the longest length as in any tutorial, and `lengths`, with our
shorter graphs beside it. TensorFlow only converts here; what runs the files is LiteRT.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from benchmarks.peers.settings import Settings, run_maker
from tfedge.models.blocks import FLOAT_MASK_VALUE
from tfedge.models.build import build, input_names
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.quantize.prepare import Shape
from tfedge.tflite.flatbuffer import merge
from tfedge.tflite.tflite import convert_with, signature_name

VARIANTS = ("fixed", "lengths")
# Far enough below any score for a softmax to give nothing, and no reason for a wide range.
_SMALL_MASK = -30.0

Samples = Callable[[int], Iterator[dict[str, np.ndarray]]]


def convert(folder: Path, output: Path, settings: Settings, kinds: list[str]) -> Iterator[Path]:
    """Writes the variants of each kind and yields their paths.

    Raises:
        CheckpointError: the weights do not fit the task.
    """
    checkpoint = Checkpoint(folder)
    names = input_names(checkpoint.config)

    def samples(length: int) -> Iterator[dict[str, np.ndarray]]:
        for encoded in settings.encoded(length):
            arrays = encoded.arrays(length)
            yield {name: arrays[name] for name in names}

    for kind in kinds:
        (output / kind).mkdir(parents=True, exist_ok=True)
        graphs = _graphs(checkpoint, settings, _SMALL_MASK if kind == "masked" else None)
        for variant in VARIANTS if kind != "masked" else ("lengths",):
            longest = max(graphs)
            chosen = {longest: graphs[longest]} if variant == "fixed" else graphs
            path = output / kind / f"{variant}.tflite"
            path.write_bytes(_CONVERTERS[kind](chosen, samples))
            yield path
        keras.backend.clear_session()


def _graphs(
    checkpoint: Checkpoint, settings: Settings, mask_value: float | None
) -> dict[int, keras.Model]:
    """The static graphs as Hugging Face defines them, by length, the longest first."""
    lengths = sorted(settings.lengths, reverse=True)
    shape = Shape(settings.task, len(settings.labels or ()), lengths[0], normalize=False)
    graphs: dict[int, keras.Model] = {}
    for length in lengths:
        options = shape.options(length, mask_value=mask_value or FLOAT_MASK_VALUE)
        graphs[length] = build(checkpoint.config, shape.task, shape.num_labels, options).model
        if length == lengths[0]:
            load_weights(graphs[length], checkpoint, shape.task)
        else:
            graphs[length].set_weights(graphs[lengths[0]].get_weights())
    return graphs


def _named(graphs: Mapping[int, keras.Model]) -> dict[str, keras.Model]:
    return {signature_name(length, max(graphs)): model for length, model in graphs.items()}


def _float(graphs: Mapping[int, keras.Model], samples: Samples) -> bytes:
    del samples
    return convert_with(_named(graphs), lambda converter: None)


def _dynamic(graphs: Mapping[int, keras.Model], samples: Samples) -> bytes:
    import tensorflow as tf

    del samples

    def configure(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]

    return convert_with(_named(graphs), configure)


def _int8(graphs: Mapping[int, keras.Model], samples: Samples) -> bytes:
    """Each graph by itself: of several signatures TFLiteConverter 2.21 calibrates the first alone."""
    import tensorflow as tf

    parts = {}
    for name, model in _named(graphs).items():
        length = model.inputs[0].shape[1]

        def configure(converter: Any, length: int = length) -> None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: samples(length)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]

        parts[name] = convert_with({name: model}, configure)
    return merge(parts) if len(parts) > 1 else next(iter(parts.values()))


_CONVERTERS: dict[str, Callable[[Mapping[int, keras.Model], Samples], bytes]] = {
    "float": _float,
    "dynamic": _dynamic,
    "int8": _int8,
    "masked": _float,
}


if __name__ == "__main__":
    sys.exit(run_maker("benchmarks.plain", tuple(_CONVERTERS), convert))
