"""What goes beyond a range that suits nearly all values, on a narrow path of its own.

x = clip(x) + (x - clip(x)): the first term is what an 8-bit tensor of a narrow range gives of itself.
The second is exactly zero nearly everywhere, and is computed for those few channels alone that
calibration has seen beyond the range, in a range of its own.

- Neurons. A few outputs of a GELU reach a hundred where all others are below 3. Above about 4 a GELU
  puts out what it reads, so that gelu(h) = gelu(min(h, c)) + relu(h - c).
- Channels. Some tokens, [CLS], [SEP] and full stops above all, have values of a thousand in a few
  channels of the residual stream (massive activations, Sun et al. 2024, arXiv:2402.17762), where all
  others have small ones that matter. What is beyond the range never joins the sum in one tensor: the
  layer norm behind it takes both into its variance, and adds up what it makes of either.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.kinds import FREE, Clipping, Fixed, Gate, Kind, Seen, Unclipped
from tfedge.architectures.parts import Parts
from tfedge.models.blocks import GraphOptions, Symbolic
from tfedge.quantize.integer import IntegerBlocks, Piece
from tfedge.quantize.layers import ScaleShift, affine, op

# What the blocks find in the decisions, paths by the name of a layer.
PATHS = "excess"
# In place of a site that may be in floating point.
_CLIPPED = ""


@dataclasses.dataclass(frozen=True)
class NeuronPath:
    """What of a dense layer before a GELU goes another way.

    Attributes:
        low, high: the range of what the GELU reads; below it a GELU gives next to nothing.
        neurons: those that calibration has seen above `high`.
    """

    low: float
    high: float
    neurons: list[int]


@dataclasses.dataclass(frozen=True)
class ChannelPath:
    """What of a dense layer that writes a residual stream goes another way.

    Attributes:
        limit: what is put out lies within -limit and limit; it comes divided by a factor a channel.
        channels: those that calibration has seen beyond, one that is beyond at either end twice.
        factors: by which each of them comes divided, below 0 for what lies below -limit.
        usual_variance: the largest of a token in the sum, without what lies beyond.
    """

    limit: float
    channels: list[int]
    factors: list[float]
    usual_variance: float


@dataclasses.dataclass(frozen=True, eq=False)
class Capped(Clipping, Gate):
    """What a GELU reads of a `NeuronPath`: the graph counts on its clipping at the upper end."""

    floor: float

    def bounds(self, seen: Seen) -> tuple[float, float]:
        return self.floor, self.high


@dataclasses.dataclass(frozen=True)
class Rare:
    """How far some neurons are above the range: (B, S, 1, n) of the dense layer `site`."""

    tensor: Symbolic
    neurons: list[int]
    site: str


@dataclasses.dataclass(frozen=True)
class Beyond:
    """How far some outputs of the dense layer `site` are beyond the range: (B, S, 1, n)."""

    tensor: Symbolic
    path: ChannelPath
    site: str

    @property
    def factors(self) -> np.ndarray:
        """See `ChannelPath`, float32 (n,)."""
        return np.asarray(self.path.factors, np.float32)

    def select(self, width: int) -> np.ndarray:
        """What takes the same channels out of the stream, undivided, (C, n)."""
        return one_hot(self.path, width) * self.factors

    def back(self, width: int) -> np.ndarray:
        """What adds it up with the stream, (n, C)."""
        return (one_hot(self.path, width) / self.factors).T


class PartDense(keras.layers.Layer):
    """Some rows and columns of a dense layer, as a 1 x 1 convolution whose weights follow that layer.

    (B, S, 1, rows) -> (B, S, 1, columns).

    Args:
        whole: the layer, built. No config can say which one that is.
        rows: those of its kernel, None for all.
        columns: those of its outputs, None for all.
        factors: what each of these is multiplied by, (columns,).
        shift: what is added then; without one the layer's bias is left out as well.
    """

    def __init__(
        self,
        whole: keras.layers.Dense,
        rows: Sequence[int] | None = None,
        columns: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        self.factors, self.shift = options.pop("factors", 1.0), options.pop("shift", None)
        super().__init__(**options)
        self.whole, self.rows, self.columns = whole, rows, columns

    def constant(self) -> tf.Tensor:
        """What the input is multiplied by, (rows, columns)."""
        kernel = self.whole.kernel
        if self.rows is not None:
            kernel = tf.gather(kernel, self.rows)
        if self.columns is not None:
            kernel = tf.gather(kernel, self.columns, axis=1)
        return kernel * self.factors

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = tf.nn.conv2d(x, self.constant()[tf.newaxis, tf.newaxis], 1, "VALID")
        if self.shift is None:
            return y
        bias = tf.zeros(self.whole.units) if self.whole.bias is None else self.whole.bias
        if self.columns is not None:
            bias = tf.gather(bias, self.columns)
        return tf.nn.bias_add(y, bias * self.factors + self.shift)


class Scatter(keras.layers.Layer):
    """Numbers put into the channels of a norm's result: (B, S, 1, n) -> (B, S, 1, C).

    Args:
        gain: the norm's gain, built, which each is multiplied by.
        path: says where each goes.
    """

    def __init__(self, gain: ScaleShift, path: ChannelPath, **options: Any) -> None:
        super().__init__(**options)
        self.gain, self.path = gain, path

    def constant(self) -> tf.Tensor:
        """What the input is multiplied by, (n, C)."""
        width = self.gain.gamma.shape[0]
        places = one_hot(self.path, width) / np.asarray(self.path.factors, np.float32)
        return places.T * self.gain.gamma

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, self.constant()[tf.newaxis, tf.newaxis], 1, "VALID")


def one_hot(path: ChannelPath, width: int) -> np.ndarray:
    """1 where a channel of the stream is one of the path, float32 (C, n)."""
    return np.eye(width, dtype=np.float32)[:, path.channels]


def times(x: tf.Tensor, matrix: np.ndarray) -> tf.Tensor:
    """A product of each token with a constant matrix (C, n): (B, S, 1, C) -> (B, S, 1, n)."""
    kernel = np.asarray(matrix, np.float32)[np.newaxis, np.newaxis]
    return tf.nn.conv2d(x, kernel, 1, "VALID")


class ExcessBlocks(IntegerBlocks):
    """Builds the blocks of one encoder with the paths that are decided.

    Where both ends of a path are in floating point nothing is clipped, and the path is left out.
    """

    def __init__(
        self,
        config: EncoderConfig,
        options: GraphOptions,
        decisions: Mapping[str, Mapping[str, Any]] | None = None,
        **given: Any,
    ) -> None:
        super().__init__(config, options, decisions, **given)
        self._paths: Mapping[str, Any] = self.decisions.get(PATHS, {})
        streams = config.architecture.streams(config)
        self._norm_behind = {item.dense: item.norms[0] for item in streams if item.dense}
        self._dense_layers: dict[str, keras.layers.Dense] = {}
        # By the identity of the neurons beside which it is, with them, so that no identity is used
        # again.
        self._rare: dict[int, tuple[Symbolic, Rare]] = {}
        self._beyond: dict[str, Beyond] = {}  # by the norm that reads it
        self._usual_variance: dict[str, Symbolic] = {}

    def tap(self, name: str, tensor: Symbolic, kind: Kind = FREE) -> Symbolic:
        path = self._paths.get(name)
        if isinstance(path, NeuronPath):
            factor = self.gate_factor(self.config)
            kind = Capped(-math.inf, factor * path.high, factor * path.low)
        return super().tap(name, tensor, kind)

    def _dense_layer(self, name: str, units: int) -> keras.layers.Layer:
        self._dense_layers[name] = super()._dense_layer(name, units)
        return self._dense_layers[name]

    def activated_dense(self, name: str, activation: str, units: int, x: Symbolic) -> Symbolic:
        y = super().activated_dense(name, activation, units, x)
        path = self._paths.get(name)
        if isinstance(path, NeuronPath):
            options: dict[str, Any] = {
                "columns": path.neurons,
                "shift": -self.gate_factor(self.config) * path.high,
            }
            with self._within(name):
                part = PartDense(self._dense_layers[name], **options, name=f"{name}.excess_sum")
                relu = keras.layers.ReLU(name=f"{name}.excess")
                part = self._step(relu, part(self.operand(x)), Unclipped())
            self._rare[id(y)] = y, Rare(part, path.neurons, name)
        return y

    def _gated(self, names: Parts, y: Symbolic, gate: Symbolic) -> Symbolic:
        product = super()._gated(names, y, gate)
        _, rare = self._rare.get(id(y), (None, None))
        # As for a dense layer, where both ends are in floating point nothing was clipped.
        if rare and not (self._is_float(rare.site) and self._is_float(names.ffn_gate)):
            pick = np.eye(int(gate.shape[-1]), dtype=np.float32)[:, rare.neurons]
            own = op(f"{names.ffn_gate}.excess", times, matrix=pick)
            own = self._step(own, self.operand(gate))
            part = self._multiply(f"{names.product}.excess", self.operand(rare.tensor), own)
            self._rare[id(product)] = product, Rare(part, rare.neurons, _CLIPPED)
        return product

    def dense(self, name: str, units: int, x: Symbolic, kind: Kind = FREE) -> Symbolic:
        path = self._paths.get(name)
        _, rare = self._rare.get(id(x), (None, None))
        if rare and self._is_float(rare.site) and self._is_float(name):
            rare = None
        if path:
            kind = Clipping(-path.limit, path.limit)
        y = (
            self._with_rare(name, units, x, kind, rare)
            if rare
            else super().dense(name, units, x, kind)
        )
        if path:
            self._beyond[self._norm_behind[name]] = self._beyond_limit(name, x, rare, path)
        return y

    def _with_rare(self, name: str, units: int, x: Symbolic, kind: Kind, rare: Rare) -> Symbolic:
        """A dense layer of neurons and of what goes beyond the range of some."""
        usual_kind, rare_kind = FREE, FREE
        if isinstance(kind, Clipping):
            # Wherever one of the two is beyond these, their sum is at its limit.
            usual_kind, rare_kind = Fixed(kind.low, kind.high), Fixed(2 * kind.low, 2 * kind.high)
        usual = super().dense(name, units, x, usual_kind)
        with self._within(name):
            part = PartDense(self._dense_layers[name], rare.neurons, name=f"{name}.excess")
            part = self._step(part, self.operand(rare.tensor), rare_kind)
            return self.add(f"{name}.whole", usual, part, kind=kind)

    def _beyond_limit(self, name: str, x: Symbolic, rare: Rare | None, path: ChannelPath) -> Beyond:
        """How far the outputs of a dense layer are beyond the limit, (B, S, 1, n)."""
        factors = np.asarray(path.factors, np.float32)
        options: dict[str, Any] = {"columns": path.channels, "factors": factors}
        whole, shift = self._dense_layers[name], -path.limit * np.abs(factors)
        with self._within(name):
            part = PartDense(whole, shift=shift, **options, name=f"{name}.beyond_usual")
            part = part(self.operand(x))
            if rare:
                terms = [self.tap(f"{name}.beyond_usual", part)]
                part = PartDense(whole, rare.neurons, **options, name=f"{name}.beyond_excess")
                terms.append(self._step(part, self.operand(rare.tensor)))
                part = keras.layers.Add(name=f"{name}.beyond_sum")(terms)
            relu = keras.layers.ReLU(name=f"{name}.beyond")
            return Beyond(self._step(relu, part, Unclipped()), path, name)

    def norm(self, name: str, x: Symbolic, epsilon: float | None = None) -> Symbolic:
        if name in self._beyond and self._is_float(name):
            beyond = self._beyond.pop(name)
            if not self._is_float(beyond.site):
                with self._within(name):
                    back = op(f"{name}.back", times, matrix=beyond.back(x.shape[-1]))
                    x = self.add(f"{name}.restored", x, back(self.operand(beyond.tensor)))
        return super().norm(name, x, epsilon)

    def _means(self, norm: str, terms: Sequence[Symbolic]) -> list[Symbolic]:
        means = super()._means(norm, terms)
        if norm in self._beyond:
            beyond = self._beyond[norm]
            share = np.sign(beyond.factors)[:, None] / terms[0].shape[-1]
            part = op(f"{norm}.excess_mean", times, matrix=share)
            means.append(self._step(part, self.operand(beyond.tensor)))
        return means

    def _variance(self, norm: str, piece: Piece, x: Symbolic, squares: Symbolic | None) -> Symbolic:
        """The mean square of each token with what is beyond the limit, which is e = s (t x + ...).

        Of a channel that comes divided by t, the square is that of t x + s e, s = 1 or -1, which
        is (t x)^2 + e (e + 2 s t x): the first belongs to the usual variance.
        """
        if norm not in self._beyond:
            return super()._variance(norm, piece, x, squares)
        beyond, part, width = self._beyond[norm], piece.name, x.shape[-1]
        usual = self._usual(norm, piece, x, squares)
        # All in units of the piece, for its products must have others than those of the others.
        double = op(f"{part}.double", times, matrix=2 / piece.unit * beyond.select(width))
        same = op(f"{part}.excess_same", times, matrix=np.eye(len(beyond.factors)) / piece.unit)
        excess = self.operand(beyond.tensor)
        factor = self.add(f"{part}.excess_factor", self._step(double, x), self._step(same, excess))
        most = width * piece.limit
        kind = Clipping(0.0, most) if math.isfinite(most) else FREE
        products = self._multiply(f"{part}.excess_squares", excess, factor, kind)
        share = np.full((len(beyond.factors), 1), 1 / width)
        total = op(f"{part}.excess_variance", times, matrix=share)
        total = self._step(total, products, self._clipped(piece))
        return self.add(f"{part}.whole_variance", usual, total, kind=piece.variance)

    @staticmethod
    def _clipped(piece: Piece) -> Kind:
        """Of a part of a variance."""
        return piece.variance if isinstance(piece.variance, Clipping) else FREE

    def _usual(self, norm: str, piece: Piece, x: Symbolic, squares: Symbolic | None) -> Symbolic:
        """The mean square of what lies within the limit, in units of the piece."""
        kind = self._clipped(piece)
        if norm in self._usual_variance and self._beyond[norm].path.usual_variance <= piece.least:
            scaled = op(f"{piece.name}.usual_variance", affine, factor=1 / piece.unit)
            return self._step(scaled, self._usual_variance[norm], kind)
        usual = super()._variance(norm, dataclasses.replace(piece, variance=kind), x, squares)
        if piece.unit == 1.0:
            self._usual_variance[norm] = usual
        return usual

    def _normalised_apart(self, gain: ScaleShift, roots: Sequence[Symbolic]) -> dict[str, Symbolic]:
        """What lies beyond the limit, divided by the deviation.

        Of tokens that have any, that is hundreds of times smaller than of others, nothing in 8 bits
        that hold both; so the products have ranges of their own.
        """
        name = gain.name
        if name not in self._beyond:
            return {}
        scaled = self.operand(self._beyond[name].tensor)
        for index in range(len(roots) - 1, -1, -1):
            scaled = self._multiply(
                f"{name}.{index}.excess_scaled", scaled, roots[index], Unclipped()
            )
        scatter = Scatter(gain, self._beyond[name].path, name=f"{name}.excess")
        return {f"{name}.excess": scatter(scaled)}
