"""Puts the ranges of calibration into a graph, where TFLiteConverter turns them into integers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.kinds import Clipping, Kind
from tfedge.models.blocks import Symbolic, Tap
from tfedge.quantize.ranges import Range


class _Ranged(keras.layers.Layer):
    """A layer that knows the range of its output."""

    def __init__(self, minimum: float, maximum: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.minimum = minimum
        self.maximum = maximum


class FakeQuant(_Ranged):
    """Rounds to the 256 values of an 8-bit tensor of the given range (Jacob et al. 2018)."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.quantization.fake_quant_with_min_max_args(x, self.minimum, self.maximum)


class Clip(_Ranged):
    """What an integer tensor of the given range does to values outside it."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value(x, self.minimum, self.maximum)


def clip(name: str, tensor: Symbolic, kind: Kind) -> Symbolic:
    """A tap that clips each tensor on whose clipping the graph counts and leaves the others alone."""
    if not isinstance(kind, Clipping):
        return tensor
    return Clip(kind.low, kind.high, name=f"{name}.clip")(tensor)


def fake_quant_tap(ranges: Mapping[str, Range]) -> Tap:
    """A tap that rounds each tensor named in `ranges` to it and leaves the others in float."""

    def tap(name: str, tensor: Symbolic, kind: Kind) -> Symbolic:
        del kind
        chosen = ranges.get(name)
        if chosen is None:
            return tensor
        return FakeQuant(chosen.min, chosen.max, name=f"{name}.quant")(tensor)

    return tap


class StaticRounder:
    """Rounds what integer sites compute and read; see `tfedge.quantize.mixed.MixedBlocks`.

    A tensor that several sites read is rounded once.

    Args:
        ranges: by the name of the tensor.
        is_float: whether a site computes in floating point.
    """

    def __init__(self, ranges: Mapping[str, Range], is_float: Callable[[str], bool]) -> None:
        self._ranges = ranges
        self._is_float = is_float
        self._rounded: dict[int, tuple[Symbolic, Symbolic]] = {}
        self._count: Counter[str] = Counter()

    def __call__(self, site: str, name: str, tensor: Symbolic) -> Symbolic:
        if self._is_float(site) or name not in self._ranges:
            return tensor
        if id(tensor) not in self._rounded:
            chosen = self._ranges[name]
            suffix = f".{self._count[name]}" if self._count[name] else ""
            self._count[name] += 1
            layer = FakeQuant(chosen.min, chosen.max, name=f"{name}.quant{suffix}")
            result = layer(tensor)
            self._rounded[id(tensor)] = (tensor, result)
            self._rounded[id(result)] = (result, result)
        return self._rounded[id(tensor)][1]


class GatedFakeQuant(FakeQuant):
    """A `FakeQuant` that is on or off, as a variable says; one that clips does so when off too."""

    def __init__(
        self, gate: tf.Variable, minimum: float, maximum: float, clips: bool, **kwargs: Any
    ) -> None:
        super().__init__(minimum, maximum, **kwargs)
        self.gate = gate
        self._clips = clips

    def call(self, x: tf.Tensor) -> tf.Tensor:
        unrounded = tf.clip_by_value(x, self.minimum, self.maximum) if self._clips else x
        return tf.where(self.gate, super().call(x), unrounded)


class GatedRounder:
    """Puts in all rounding of all sites, each site's with a gate.

    Args:
        ranges: by the name of the tensor.
        clipped: tensors whose clipping the graph counts on, rounded or not.

    Attributes:
        gates: by site; True where the site rounds.
    """

    def __init__(self, ranges: Mapping[str, Range], clipped: Container[str]) -> None:
        self.gates: dict[str, tf.Variable] = {}
        self._ranges = ranges
        self._clipped = clipped
        self._count = 0

    def __call__(self, site: str, name: str, tensor: Symbolic) -> Symbolic:
        if name not in self._ranges:
            return tensor
        gate = self.gates.setdefault(site, tf.Variable(True, trainable=False))
        chosen = self._ranges[name]
        self._count += 1
        return GatedFakeQuant(
            gate,
            chosen.min,
            chosen.max,
            name in self._clipped,
            name=f"{name}.gated.{self._count}",
        )(tensor)
