"""Puts the ranges of calibration into a graph, where TFLiteConverter turns them into integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tfedge.models.blocks import Symbolic, Tap
from tfedge.quantize.ranges import Range


class _Ranged(keras.layers.Layer):
    """A layer that knows the range of its output."""

    def __init__(self, minimum: float, maximum: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.minimum = minimum
        self.maximum = maximum

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "minimum": self.minimum, "maximum": self.maximum}


@keras.saving.register_keras_serializable("tfedge")
class FakeQuant(_Ranged):
    """Rounds to the 256 values of an 8-bit tensor of the given range (Jacob et al. 2018)."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.quantization.fake_quant_with_min_max_args(x, self.minimum, self.maximum)


@keras.saving.register_keras_serializable("tfedge")
class Clip(_Ranged):
    """What an integer tensor of the given range does to values outside it."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(x, self.minimum, self.maximum)


def clip_tap(ranges: Mapping[str, Range]) -> Tap:
    """A tap that clips each tensor named in `ranges` to it and leaves the others alone."""

    def tap(name: str, tensor: Symbolic) -> Symbolic:
        chosen = ranges.get(name)
        if chosen is None:
            return tensor
        return Clip(chosen.min, chosen.max, name=f"{name}.clip")(tensor)

    return tap


def fake_quant_tap(ranges: Mapping[str, Range]) -> Tap:
    """A tap that rounds each tensor named in `ranges` to it and leaves the others in float."""

    def tap(name: str, tensor: Symbolic) -> Symbolic:
        chosen = ranges.get(name)
        if chosen is None:
            return tensor
        return FakeQuant(chosen.min, chosen.max, name=f"{name}.quant")(tensor)

    return tap
