"""The encoder made of operations that have fast and exact int8 kernels.

In float it computes what the plain graph computes (`tests/quantize/test_integer.py`); what differs:

- dense layers are 1 x 1 convolutions, the scale of the queries is folded into their weights;
- a layer norm is a chain of integer operations, see `IntegerBlocks.norm`;
- sentence embeddings are left unnormalised, the board divides by the length.

I-BERT (Kim et al. 2021, arXiv:2101.01321) computes layer norms in 32-bit integers; TFLite has no
such operations, so here each quantity that needs more than 8 bits is the sum of a product (which
adds up in 32 bits) or is split over several 8-bit tensors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import tensorflow as tf
import tf_keras as keras

from tfedge.architectures import kinds
from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.kinds import FREE, Clipping, Fixed, Kind, Like, Seen, Unclipped
from tfedge.models import layers as plain
from tfedge.models.blocks import GraphOptions, Symbolic
from tfedge.quantize import layers
from tfedge.quantize.attention import FilledAttention
from tfedge.quantize.layers import op

# An epsilon that is a smaller share of the least variance is lost in its 8 bits.
_LEAST_SHARE = 1 / 512
# The decisions about layer norms, a `NormPlan` by the name of each.
PLANS = "plans"
# Of a limit: the largest square of a mean that is subtracted.
_ROOM = 1 + 1 / 16


@dataclasses.dataclass(frozen=True)
class NormPlan:
    """How one layer norm is computed."""

    least_variance: float  # what smaller ones are taken for
    # Upper ends of the ranges of the variance, ascending. Outlier tokens have variances hundreds of
    # times larger than the others, which no single 8-bit tensor holds. A variance above a limit
    # saturates there, and the next one goes on.
    limits: tuple[float, ...]
    # Whether the mean of each token is subtracted; after `centre` it is often smaller than the
    # rounding of the result.
    has_mean: bool
    # Or at once, by the product of what all pieces give, in one 8-bit tensor: few steps for the
    # inverse of large variances.
    in_turn: bool = True

    def pieces(self, norm: str) -> list[Piece]:
        """How the variance of norm `norm` is split."""
        if not self.least_variance:
            steps = (NormStep(norm, "variance"), NormStep(norm, "inverse"))
            return [Piece(f"{norm}.0", 1.0, 0.0, math.inf, FREE, *steps)]
        found = []
        for index, (least, limit) in enumerate(pairwise((self.least_variance, *self.limits))):
            unit = least if index else 1.0
            variance = Clipping(0.0, limit / unit)
            inverse = Clipping(0.0, (unit / least) ** 0.5)
            piece = Piece(f"{norm}.{index}", unit, least, limit / unit, variance, variance, inverse)
            found.append(piece)
        return found


# What any variance can be computed by, in float.
PLAIN_PLAN = NormPlan(0.0, (math.inf,), has_mean=True)


@dataclasses.dataclass(frozen=True)
class Piece:
    """One 8-bit tensor of a variance that needs several."""

    name: str
    # What the variance is counted in. Each piece has a unit of its own, because the converter would
    # merge products with one constant, whatever the ranges of their results, and leave the merged
    # one in float.
    unit: float
    least: float  # the least variance whose inverse root it tells
    limit: float  # the variance above which it saturates, in units
    variance: Kind  # of the mean square
    central: Kind  # of the same without the mean
    inverse: Kind  # of its inverse root

    def before(self, has_mean: bool) -> Piece:
        """For the mean square where a mean's is still to be subtracted, for which it has room, so that
        what was at the limit stays there; or where it is the variance itself."""
        if not has_mean:
            return dataclasses.replace(self, variance=self.central)
        if not isinstance(self.variance, Clipping):
            return self
        return dataclasses.replace(self, variance=Clipping(0.0, _ROOM * self.limit))


@dataclasses.dataclass(frozen=True, eq=False)
class NormStep(Kind):
    """A quantity of each token that layer norm `norm` computes, (B, S, 1, 1)."""

    norm: str
    quantity: Literal["mean", "variance", "inverse"]


@dataclasses.dataclass(frozen=True, eq=False)
class Squared(Kind):
    """What is squared for a piece of a variance that saturates at `limit`."""

    limit: float
    symmetric: bool = dataclasses.field(default=True, kw_only=True)

    def bounds(self, seen: Seen) -> tuple[float, float]:
        # One channel alone may make up a variance at the limit; where none does, the range is less.
        peak = min(self.limit**0.5, max(-seen.low, seen.high, kinds.LEAST_RANGE))
        return -peak, peak


@dataclasses.dataclass(frozen=True, eq=False)
class Squares(Kind):
    """The squares of what is `Squared`."""

    limit: float

    def bounds(self, seen: Seen) -> tuple[float, float]:
        return 0.0, min(self.limit, max(seen.high, kinds.LEAST_RANGE))


class IntegerBlocks(FilledAttention):
    """Builds the blocks of one encoder for integers; hidden states are (B, S, 1, C).

    The layers whose constants the converter rounds are attributes, for a graph that rounds them
    itself.

    Attributes:
        decisions: of the rewrites of the graph, by their keys.
        strengths: powers that the factors of equalisation may be of the channels' peaks.
        float_operators: what is left in float, as `tfedge.inspect.contents` names it.
    """

    strengths: ClassVar[tuple[float, ...]] = layers.STRENGTHS
    float_operators: ClassVar[frozenset[str]] = frozenset()
    keeps_axes = True
    pointwise_dense: type[layers.PointwiseDense] = layers.PointwiseDense
    patch_layer: type[layers.PointwisePatches] = layers.PointwisePatches
    trigram_layer: type[layers.TrigramDense] = layers.TrigramDense
    channel_scale: type[layers.ChannelScale] = layers.ChannelScale
    channel_mean: type[layers.ChannelMean] = layers.ChannelMean
    rsqrt: Callable[[tf.Tensor], tf.Tensor] = staticmethod(tf.math.rsqrt)

    def __init__(
        self,
        config: EncoderConfig,
        options: GraphOptions,
        decisions: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(config, options)
        self.decisions = decisions or {}
        streams = config.architecture.streams(config)
        self._norm_of_sum = {item.totals[0]: item.norms[0] for item in streams if item.dense}
        self._biased_sums = {s.norms[0] for s in streams if s.dense and self._has_bias(s.dense)}
        self._centred: set[str] = set()  # norms that read sums without a mean

    @classmethod
    def gate_factor(cls, config: EncoderConfig) -> float:
        """What the dense layers before an activation hold, and those behind it the inverse of."""
        del config
        return 1.0

    def _step(self, layer: keras.layers.Layer, inputs: Any, kind: Kind = FREE) -> Symbolic:
        """What a layer makes of tensors, tapped by the layer's name."""
        return self.tap(layer.name, layer(inputs), kind)

    def _multiply(self, name: str, a: Symbolic, b: Symbolic, kind: Kind = FREE) -> Symbolic:
        return self._step(keras.layers.Multiply(name=name), [a, b], kind)

    def one_token(self, x: Symbolic) -> Symbolic:
        """What comes from `mean_pooling` as the hidden states of one token, (B, 1, 1, C)."""
        return op("pooling.token", layers.one_token)(x)

    def _activated(
        self, name: str, activation: str, function: keras.layers.Layer, x: Symbolic
    ) -> Symbolic:
        """As everywhere; what no operator of integers computes is x * sigmoid(slope * x), where
        slope * x has the integers of x."""
        if (slope := plain.SLOPES.get(activation)) is None:
            return super()._activated(name, activation, function, x)
        read = x
        if slope != 1.0:
            read = self._step(op(f"{name}.steep", plain.scale, factor=slope), x, Like(name, slope))
        return self._multiply(f"{name}.act", x, self._sigmoid(name, read))

    def _sigmoid(self, name: str, x: Symbolic) -> Symbolic:
        return self._step(op(f"{name}.sigmoid", tf.sigmoid), x, kinds.SIGMOID)

    def as_hidden(self, name: str, x: Symbolic) -> Symbolic:
        return op(f"{name}.expanded", layers.expand)(x)

    def _is_float(self, site: str) -> bool:
        """Whether a site computes in floating point; see `tfedge.quantize.mixed`."""
        del site
        return False

    def _dense_layer(self, name: str, units: int) -> keras.layers.Layer:
        return self.pointwise_dense(units, use_bias=self._has_bias(name), name=name)

    def _patch_layer(self, name: str, units: int, **options: Any) -> keras.layers.Layer:
        return self.patch_layer(units, name=name, **options)

    def trigram_dense(self, name: str, units: int, x: Symbolic) -> Symbolic:
        """A convolution over three tokens: (B, S, 1, C) -> (B, S, 1, units)."""
        with self.site(name, "dense"):
            return self._step(self.trigram_layer(units, name=name), self.operand(x))

    def norm(self, name: str, x: Symbolic, epsilon: float | None = None) -> Symbolic:
        """gamma * (x - mean(x)) / deviation(x) + beta over the channels, in integers.

        The input comes divided by a vector t, one factor a channel (see `equalize`); gamma holds t
        too. With w = t * x / sqrt(C), the mean square of t * x is the sum of w * w.
        """
        with self.site(name, "norm"):
            x = self.operand(x)
            gain = layers.ScaleShift(self._has_bias(name), name=name)
            if self.config.normalization_type == "no_norm":
                return self._step(gain, x)
            plan = self._plan(name)
            has_mean = plan.has_mean and name not in self._centred
            mean = self._mean(name, x) if has_mean else None
            epsilon = epsilon or self.config.layer_norm_eps
            roots = self._roots(name, x, mean, plan, epsilon)
            scaled = self._normalised(name, "scaled", x, roots)
            terms = {f"{name}.uncentred": gain(scaled)}
            if mean is not None:
                shift = layers.Spread(gain, name=f"{name}.shift")
                terms[f"{name}.shift"] = shift(self._normalised(name, "scaled_mean", mean, roots))
            return self._put_out(gain, scaled, terms | self._normalised_apart(gain, roots))

    def _put_out(
        self, gain: layers.ScaleShift, scaled: Symbolic, terms: Mapping[str, Symbolic]
    ) -> Symbolic:
        """The result of the norm whose gain reads `scaled`: the sum of terms, by name."""
        del scaled
        return self._summed(gain.name, terms)

    def _plan(self, norm: str) -> NormPlan:
        plan: NormPlan = self.decisions.get(PLANS, {}).get(norm, PLAIN_PLAN)
        return plan

    def add(self, name: str, *terms: Symbolic, kind: Kind = FREE) -> Symbolic:
        """As everywhere; of a residual sum the mean is taken out beforehand, if the norm wants that.

        What a dense layer adds is small beside what is carried, and loses less to another rounding
        than the norm's result would.
        """
        norm = self._norm_of_sum.get(name)
        is_layer_norm = self.config.normalization_type == "layer_norm"
        if norm and is_layer_norm and self._plan(norm).has_mean and not self._is_float(norm):
            self._centred.add(norm)
            added, *others = terms
            means = self.add(f"{norm}.mean", *self._means(norm, terms), kind=NormStep(norm, "mean"))
            shift = self._step(
                layers.MinusMean(norm=norm, name=f"{norm}.shift", channels=int(added.shape[-1])),
                means,
            )
            terms = (self.add(f"{norm}.added", added, shift), *others)
        return super().add(name, *terms, kind=kind)

    def _means(self, norm: str, terms: Sequence[Symbolic]) -> list[Symbolic]:
        """What the mean of each token is the sum of, (B, S, 1, 1) each."""
        found = []
        for index, x in enumerate(terms):
            mean = self.channel_mean(norm=norm, name=f"{norm}.mean.of.{index}")
            # `centre` leaves none to a dense layer without bias, and no kernel takes a range of 0.
            kind = FREE if index or norm in self._biased_sums else Like(f"{norm}.mean")
            found.append(self._step(mean, self.operand(x), kind))
        return found

    def _summed(self, name: str, terms: Mapping[str, Symbolic]) -> Symbolic:
        """The sum of terms, by name; what only one makes has that of the sum."""
        if len(terms) == 1:
            return self.tap(name, *terms.values())
        total, *others = (self.tap(term, tensor) for term, tensor in terms.items())
        for index, term in enumerate(others, start=1):
            step = name if index == len(others) else f"{name}.{index}"
            total = self.tap(step, keras.layers.Add(name=f"{step}.centred")([total, term]))
        return total

    def _mean(self, name: str, x: Symbolic) -> Symbolic:
        """The mean of each token, (B, S, 1, 1)."""
        return self._step(
            self.channel_mean(norm=name, name=f"{name}.mean"), x, NormStep(name, "mean")
        )

    def _normalised_apart(
        self, gain: layers.ScaleShift, roots: Sequence[Symbolic]
    ) -> dict[str, Symbolic]:
        """What a norm with this gain adds to its result beside what it reads: nothing here."""
        del gain, roots
        return {}

    def _normalised(self, norm: str, name: str, x: Symbolic, roots: Sequence[Symbolic]) -> Symbolic:
        """A tensor divided by the deviation of each token: times what `_roots` gives, in turn.

        All but the first are 1 for most tokens, which are left as they are, since the product has
        the range of `x`.
        """
        source = next((tapped for tapped in self.tapped.values() if tapped is x), None)
        for index in range(len(roots) - 1, 0, -1):
            label = f"{norm}.{index}.{name}"
            product = keras.layers.Multiply(name=label)([x, roots[index]])
            if source is None:  # rows of a tensor
                x = self.tap(label, product, Unclipped())
            else:
                x = self.tap_like(label, source, product)
        return self._multiply(f"{norm}.{name}", x, roots[0])

    def _roots(
        self, name: str, x: Symbolic, mean: Symbolic | None, plan: NormPlan, epsilon: float
    ) -> list[Symbolic]:
        """Factors whose product is 1 / sqrt(variance + epsilon) of each token, (B, S, 1, 1) each.

        Over limits L0 < L1 < ..., with v clipped to the last one:
        rsqrt(min(v, L0)) and, for all further k, min(rsqrt(min(v, Lk) / Lk-1), 1).
        The clipping is what 8-bit ranges do. Where the plan wants it at once, the product alone.
        """
        square = self._multiply(f"{name}.mean_squared", mean, mean) if mean is not None else None
        squares = self._squares(name, x)
        roots: list[Symbolic] = []
        for piece in plan.pieces(name):
            part, unit = piece.name, piece.unit
            variance = self._variance(name, piece.before(square is not None), x, squares)
            if square is not None:
                part_square = square
                if roots:
                    scale = op(f"{part}.mean_squared", layers.affine, factor=1 / unit)
                    part_square = self._step(scale, square)
                central = keras.layers.Subtract(name=f"{part}.central")
                variance = self._step(central, [variance, part_square], piece.central)
            if epsilon > _LEAST_SHARE * plan.least_variance:
                add = op(f"{part}.epsilon", layers.affine, term=epsilon / unit)
                variance = self._step(add, variance, piece.variance)
            roots.append(self._step(op(f"{part}.rsqrt", self.rsqrt), variance, piece.inverse))
        if not plan.in_turn:
            first, *others = plan.pieces(name)
            for piece in others:
                pair = roots[0], roots.pop(1)
                roots[0] = self._multiply(f"{piece.name}.inverse", *pair, first.inverse)
        return roots

    def _squares(self, name: str, x: Symbolic) -> Symbolic | None:
        """What the pieces of a norm have in common: nothing here."""
        del name, x
        return None

    def _variance(self, norm: str, piece: Piece, x: Symbolic, squares: Symbolic | None) -> Symbolic:
        """The mean square of each token in units of the piece, (B, S, 1, 1)."""
        del squares
        weight = self.channel_scale(norm, piece.unit, name=f"{piece.name}.weighted")
        weighted = self._step(weight, x, Squared(piece.limit))
        total = op(f"{piece.name}.variance", layers.sum_of_squares)
        return self._step(total, weighted, piece.variance)

    def _scaled(self, name: str, query: Symbolic) -> Symbolic:
        return query  # the scale is in the weights

    def merge_heads(self, name: str, context: Symbolic) -> Symbolic:
        return op(name, layers.merge_heads)(context)

    def token(self, hidden: Symbolic, index: int = 0) -> Symbolic:
        """The hidden state of one token for a head: (B, S, 1, C) -> (B, 1, 1, C)."""
        return plain.Token(index, keepdims=True, name=f"token.{index}")(hidden)

    def mean_pooling(self, hidden: Symbolic, attention_mask: Symbolic) -> Symbolic:
        """The mean hidden state of real tokens: (B, S, 1, C), (B, S) -> (B, C)."""
        # The hidden states are the right operand of a product here, as the values of an attention.
        name = self.name_of(hidden)
        self.kinds[name] = dataclasses.replace(kinds.VALUE, table=self.kinds[name].table)
        with self.site("pooling", "pooling"):
            longest = self.config.max_position_embeddings
            count = op("pooling.weights", layers.inverse_count, max_length=longest)
            # Of [CLS], [SEP] and a word. What saturates is alike for all, and the board divides it out.
            most = 1 / 3 if self.config.architecture.frames_texts or self.options.normalize else 1.0
            weights = self._step(count, attention_mask, Fixed(0.0, most))
            return self._step(op("pooling", layers.weighted_sum), [weights, self.operand(hidden)])

    def normalized(self, x: Symbolic) -> Symbolic:
        """Left to the board: TFLite's int8 normalisation has a fixed scale of 1/128."""
        return x

    def per_text(self, x: Symbolic, name: str = "per_text") -> Symbolic:
        """(B, 1, 1, C) -> (B, C)."""
        return op(name, tf.squeeze, axis=(1, 2))(x)

    def per_token(self, x: Symbolic, name: str = "per_token") -> Symbolic:
        """(B, S, 1, C) -> (B, S, C)."""
        return op(name, tf.squeeze, axis=(2,))(x)
