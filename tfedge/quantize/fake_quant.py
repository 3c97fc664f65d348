"""Puts the ranges of calibration into a graph, where TFLiteConverter turns them into integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.kinds import Clipping, Kind
from tfedge.models.blocks import Symbolic
from tfedge.models.options import Tap
from tfedge.quantize.layers import op
from tfedge.quantize.mixed import Precision, is_float
from tfedge.quantize.ranges import Range


class FakeQuant(keras.layers.Layer):
    """Rounds to the 256 values of an 8-bit tensor of the given range (Jacob et al. 2018)."""

    def __init__(self, chosen: Range, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.minimum, self.maximum = chosen.min, chosen.max

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.quantization.fake_quant_with_min_max_args(x, self.minimum, self.maximum)


def clipping(name: str, low: float, high: float) -> keras.layers.Layer:
    """What an integer tensor of a range does to values outside it."""
    return op(name, tf.clip_by_value, clip_value_min=low, clip_value_max=high)


def clip(name: str, tensor: Symbolic, kind: Kind) -> Symbolic:
    """A tap that clips each tensor on whose clipping the graph counts and leaves the others alone."""
    if not isinstance(kind, Clipping):
        return tensor
    return clipping(f"{name}.clip", kind.low, kind.high)(tensor)


def fake_quant_tap(ranges: Mapping[str, Range]) -> Tap:
    """A tap that rounds each tensor named in `ranges` to it and leaves the others in float."""

    def tap(name: str, tensor: Symbolic, kind: Kind) -> Symbolic:
        if name not in ranges:
            return tensor
        return FakeQuant(ranges[name], name=f"{name}.quant")(tensor)

    return tap


class StaticRounder:
    """Rounds what integer sites compute and read; see `tfedge.quantize.mixed.MixedBlocks`.

    A tensor that several sites read is rounded once.
    """

    def __init__(self, ranges: Mapping[str, Range], precisions: Mapping[str, Precision]) -> None:
        self._ranges = ranges
        self._precisions = precisions
        # By identity, with the tensor, so that no identity is used again.
        self._rounded: dict[int, tuple[Symbolic, Symbolic]] = {}
        self._count: Counter[str] = Counter()

    def __call__(self, site: str, name: str, tensor: Symbolic) -> Symbolic:
        if is_float(self._precisions, site) or name not in self._ranges:
            return tensor
        if id(tensor) not in self._rounded:
            suffix = f".{self._count[name]}" if self._count[name] else ""
            self._count[name] += 1
            result = FakeQuant(self._ranges[name], name=f"{name}.quant{suffix}")(tensor)
            self._rounded[id(tensor)] = (tensor, result)
            self._rounded[id(result)] = (result, result)
        return self._rounded[id(tensor)][1]


class GatedFakeQuant(FakeQuant):
    """A `FakeQuant` that is on or off, as a variable says; one that clips does so when off too."""

    def __init__(self, chosen: Range, gate: tf.Variable, clips: bool, **kwargs: Any) -> None:
        super().__init__(chosen, **kwargs)
        self.gate = gate
        self._clips = clips

    def call(self, x: tf.Tensor) -> tf.Tensor:
        unrounded = tf.clip_by_value(x, self.minimum, self.maximum) if self._clips else x
        return tf.where(self.gate, super().call(x), unrounded)


class GatedRounder:
    """Puts in all rounding of all sites, each site's with a gate; the graph counts on the clipping of
    the tensors `clipped`, rounded or not."""

    def __init__(self, ranges: Mapping[str, Range], clipped: Container[str]) -> None:
        self.gates: dict[str, tf.Variable] = {}  # by site; True where the site rounds
        self._ranges = ranges
        self._clipped = clipped
        self._count = 0

    def __call__(self, site: str, name: str, tensor: Symbolic) -> Symbolic:
        if name not in self._ranges:
            return tensor
        gate = self.gates.setdefault(site, tf.Variable(True, trainable=False))
        self._count += 1
        label = f"{name}.gated.{self._count}"
        layer = GatedFakeQuant(self._ranges[name], gate, name in self._clipped, name=label)
        return layer(tensor)
