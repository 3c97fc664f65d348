"""The encoder made of operations that the Edge TPU compiler's published table has.

In float it computes what the plain graph computes, but for GELU, which is x * sigmoid(1.702 x)
(Hendrycks and Gimpel 2016, section 2). Everything between the embedding look-up and the output is
int8 and has at most three dimensions above 1. Beside what `IntegerBlocks` does:

- 0/1 inputs are converted, not looked up; token types are then a 1 x 1 convolution;
- a norm squares with MUL, its outlier channels apart, see `EdgeTpuBlocks._variance`;
- attention has no product of two activations but MUL, see `EdgeTpuBlocks.attention`.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.kinds import (
    FREE,
    GATE,
    KEY,
    MASK,
    SCORES,
    SIGMOID,
    VALUE,
    Fixed,
    Kind,
    Probabilities,
    Scores,
    Unclipped,
    rows_of,
)
from tfedge.architectures.parts import Biases, Parts
from tfedge.errors import InputError
from tfedge.models.blocks import Symbolic, Tensors
from tfedge.models.layers import SLOPES, matmul
from tfedge.quantize import edgetpu_layers as layers
from tfedge.quantize.integer import IntegerBlocks, Piece, Squared, Squares
from tfedge.quantize.layers import STRENGTH, affine, expand, op
from tfedge.targets import INTEGER

GELU_FACTOR = SLOPES["quick_gelu"]
# The power of half the scores is squared, in steps of 1/256 of the largest: e^-6.5 of the sigmoid
# rounds to 0.
HALF_MASK_DEPTH = 6.5
HALF_SCORES = Scores(HALF_MASK_DEPTH)
# Products of all pairs of tokens are so many that a share of them shows their histogram.
_PRODUCTS = Kind(thinning=31)
_SHARE = Fixed(0.0, 1.0)
_UNIT_LENGTH = Fixed(-1.0, 127 / 128)  # fixed by TFLite's L2_NORMALIZATION


class EdgeTpuBlocks(IntegerBlocks):
    """Builds the blocks of one encoder of table operations only; hidden states are (B, S, 1, C)."""

    query_factor = 0.5
    score_axes = (0, 2, 1, 3)
    strengths = (STRENGTH,)  # what `EvenScale` makes good
    float_operators = frozenset({"CAST FLOAT32"})

    even_scale: type[layers.EvenScale] = layers.EvenScale
    even_variance: type[layers.EvenVariance] = layers.EvenVariance

    @classmethod
    def gate_factor(cls, config: EncoderConfig) -> float:
        """That of the sigmoid; every GELU is the quick one."""
        return SLOPES.get(config.hidden_act, GELU_FACTOR)

    def token_types(self, name: str, channels: int, inputs: Tensors) -> Symbolic:
        """The look-up of token types, (B, S, 1, channels); of two, arithmetic."""
        if self.config.type_vocab_size != 2:
            return super().token_types(name, channels, inputs)
        layer = layers.TypeEmbedding(2, channels, name=name)
        flags = self._flags(name, inputs["token_type_ids"])
        return self._step(layer, flags, rows_of(layer))

    def _flags(self, name: str, x: Symbolic) -> Symbolic:
        """int32 (B, S) of 0 and 1 -> the same as real numbers, (B, S, 1, 1).

        CAST stays on the CPU as an input's conversion.
        """
        flags = self._step(op(f"{name}.flags", tf.cast, dtype=tf.float32), x, _SHARE)
        return op(f"{name}.column", layers.as_column)(flags)

    def attention_bias(self, attention_mask: Symbolic) -> Symbolic:
        """attention_mask (B, S) -> what every layer adds to its scores, (B, 1, 1, S)."""
        depth = -self.options.mask_value
        self._mask = self._flags("attention_mask", attention_mask)
        bias = self._step(op("attention_bias", affine, factor=depth, term=-depth), self._mask, MASK)
        return op("attention_bias.row", layers.as_row)(bias)

    def activated_dense(self, name: str, activation: str, units: int, x: Symbolic) -> Symbolic:
        """A dense layer and its activation; GELU is y * sigmoid(y) of y = 1.702 x, over 1.702."""
        if activation == "relu":
            return super().activated_dense(name, activation, units, x)
        if name in self.config.architecture.summary_modules:
            return self._unscaled_dense(name, activation, units, x)
        with self.site(name, "dense"):
            y = self._step(self._dense_layer(name, units), self.operand(x), GATE)
            return self._multiply(f"{name}.act", y, self._sigmoid(name, y))

    def gated_dense(self, names: Parts, activation: str, units: int, x: Symbolic) -> Symbolic:
        """As everywhere; the gate's sigmoid is a product of its own."""
        y = self._unscaled_dense(names.ffn_input, activation, units, x)
        gate = self.dense(names.ffn_gate, units, x)
        with self._within(names.ffn_gate):
            return self._gated(names, y, gate)

    def _unscaled_dense(self, name: str, activation: str, units: int, x: Symbolic) -> Symbolic:
        """What no dense layer is behind that holds the inverse of a factor."""
        slope = activation if activation in (*SLOPES, "relu") else "quick_gelu"
        return super().activated_dense(name, slope, units, x)

    def dense(self, name: str, units: int, x: Symbolic, kind: Kind = FREE) -> Symbolic:
        """As everywhere; products by MUL want no zero point of 0."""
        return super().dense(name, units, x, FREE if kind in (KEY, VALUE) else kind)

    def _squares(self, name: str, x: Symbolic) -> Symbolic | None:
        even = self._step(self.even_scale(norm=name, name=f"{name}.even"), x, Unclipped())
        return self._multiply(f"{name}.squares", even, even, Unclipped())

    def _variance(self, norm: str, piece: Piece, x: Symbolic, squares: Symbolic | None) -> Symbolic:
        """The mean square of each token in units of the piece, (B, S, 1, 1).

        8 bits hold squares only of what is about equally large. So the channels are evened out
        before, which the weights of the sum make good; the largest few are squared apart, clipped
        at the limit of this piece as the variance itself is.
        """
        part, kind = piece.name, piece.variance
        usual = self.even_variance(norm, piece.unit, name=f"{part}.usual")
        usual = self._step(usual, squares, kind)
        pick = layers.PickOutliers(norm, piece.unit, name=f"{part}.weighted")
        outliers = self._step(pick, x, Squared(piece.limit))
        outliers = self._multiply(
            f"{part}.weighted_squares", outliers, outliers, Squares(piece.limit)
        )
        total = self._step(op(f"{part}.outlying", layers.sum_of_channels), outliers, kind)
        return self.add(f"{part}.variance", usual, total, kind=kind)

    def attention(
        self, name: str, query: Symbolic, key: Symbolic, value: Symbolic, biases: Biases
    ) -> Symbolic:
        """Scaled dot-product attention, the products of two activations by MUL.

        A product of matrices (R, D) and (D, S) is that of (R, D * S), each channel S times, and one
        row (1, D * S); its blocks of S channels are then added up by a depthwise convolution.

        Args:
            query: (B, R, 1, H * D), divided by twice the root of D.
            key, value: (B, S, 1, H * D).
            biases: the relative one (1, S, H, S).

        Returns:
            The context, (B, R, 1, H * D).
        """
        if biases.distances:
            raise InputError(
                f"a {self.config.model_type} is not made for --target edgetpu: its scores of distances "
                "are products of matrices, which the Edge TPU has no operator for; leave --target out"
            )
        with self.site(name, "attention"):
            turned = op(f"{name}.key.transposed", tf.transpose, perm=(0, 3, 2, 1))(key)
            return self._context(name, query, turned, value, biases)

    def _context(
        self, name: str, query: Symbolic, turned: Symbolic, value: Symbolic, biases: Biases
    ) -> Symbolic:
        """What attention gives, of keys (B, H * D, 1, S)."""
        queries = self._split(f"{name}.query.heads", query, 3)
        keys = self._split(f"{name}.key.heads", turned, 1)  # (B, D, 1, S) each
        values = self._split(f"{name}.value.heads", value, 3)
        scores = [
            self._product(f"{name}.scores.{head}", queries[head], query, keys[head])
            for head in range(len(queries))
        ]
        kind = self._unbiased(HALF_SCORES, biases)
        total = self._concatenate(f"{name}.half_scores", scores, kind)  # (B, R, H, S)
        total = self._biased(f"{name}.{{}}_half_scores", total, biases, HALF_SCORES)
        shares, roots = self._shares(name, total)
        parts = self._split(f"{name}.shares.heads", shares, 2)
        context = [
            self._product(f"{name}.context.{head}", parts[head], shares, values[head])
            for head in range(len(parts))
        ]
        sums = self._concatenate(f"{name}.context.sums", context)  # (B, R, H, D)
        context = self._multiply(f"{name}.context.heads", sums, roots)
        return op(f"{name}.context", layers.joined)(context)

    def _shares(self, name: str, scores: Symbolic) -> tuple[Symbolic, Symbolic]:
        """The softmax of twice the scores, in two factors that 8 bits hold well.

        With y = scores - their maximum, e^y = sigmoid(y) / (1 - sigmoid(y)), and of e^y divided by
        its length over the keys the square is the softmax: p = u * u, u = e^y / root(sum of e^2y).
        The largest e^y is 1, so the largest u is 1 / root(sum), and p = (u * e^y) * (largest u).

        Returns:
            Of scores (B, R, H, S) u * e^y, (B, R, H, S), and the largest u, (B, R, H, 1).
        """
        most = op(f"{name}.largest", layers.largest)(scores)
        depth = keras.layers.Subtract(name=f"{name}.depth")
        below = self._step(depth, [scores, most], Fixed(-HALF_MASK_DEPTH, 0.0))
        gate = self._sigmoid(name, below)
        rest = self._step(op(f"{name}.rest", lambda x: 1.0 - x), gate, SIGMOID)
        root = op(f"{name}.rest_rsqrt", tf.math.rsqrt)
        root = self._step(root, rest, Fixed(0.0, 2**0.5))
        inverse = self._multiply(f"{name}.rest_inverse", root, root, Fixed(0.0, 2.0))
        power = self._multiply(f"{name}.power", gate, inverse, _SHARE)
        unit = self._step(op(f"{name}.unit", layers.unit_length), power, _UNIT_LENGTH)
        shares = self._multiply(f"{name}.shares", unit, power, _SHARE)
        return shares, op(f"{name}.root", layers.largest)(unit)

    def _split(self, name: str, x: Symbolic, axis: int) -> list[Symbolic]:
        return op(name, layers.split, parts=self.config.num_attention_heads, axis=axis)(x)

    def _concatenate(self, name: str, parts: list[Symbolic], kind: Kind = FREE) -> Symbolic:
        """One tensor (B, R, H, N) of H tensors (B, R, 1, N)."""
        whole = keras.layers.Concatenate(2, name=name)(parts) if len(parts) > 1 else parts[0]
        return self.tap(name, whole, kind)

    def _product(self, name: str, left: Symbolic, whole: Symbolic, right: Symbolic) -> Symbolic:
        """The product of matrices (B, R, 1, N) and (B, N, 1, C), which is (B, R, 1, C); `left` is a
        part of the tapped tensor `whole` and has its range."""
        repeated = op(f"{name}.repeated", layers.repeat)([left, right])
        repeated = self.tap_like(f"{name}.repeated", whole, repeated)
        row = op(f"{name}.row", layers.as_row)(right)
        products = self._multiply(f"{name}.products", repeated, row, _PRODUCTS)
        return op(name, layers.sum_of_blocks)([products, right])

    def mean_pooling(self, hidden: Symbolic, attention_mask: Symbolic) -> Symbolic:
        """The mean hidden state of real tokens: (B, S, 1, C), (B, S) -> (B, C).

        The mask divided by its length is 1 / root(number of real tokens) at each of them: once
        before the sum and once behind it.
        """
        with self.site("pooling", "pooling"):
            flags = op("pooling.row", layers.as_row)(self._mask)
            unit = self._step(op("pooling.unit", layers.unit_length), flags, _UNIT_LENGTH)
            weights = op("pooling.column", layers.as_column)(unit)
            weighted = self._multiply("pooling.weighted", hidden, weights)
            total = self._step(op("pooling.sum", layers.sum_of_tokens), weighted)
            root = op("pooling.root", layers.largest)(unit)
            mean = self._multiply("pooling", total, root)
            return op("pooling.text", tf.squeeze, axis=(1, 2))(mean)


class PlainEdgeTpuBlocks(EdgeTpuBlocks):
    """`EdgeTpuBlocks` whose attention is two BATCH_MATMUL and a SOFTMAX a head, of rank 3.

    As in the graphs of Reidy et al. 2023 (doi 10.1109/RTAS58335.2023.00036; their export.py), which
    run on the Edge TPU by its account; the published table has no BATCH_MATMUL, and SOFTMAX for one
    row only.
    """

    query_factor = 1.0

    def dense(self, name: str, units: int, x: Symbolic, kind: Kind = FREE) -> Symbolic:
        """As everywhere."""
        return IntegerBlocks.dense(self, name, units, x, kind)

    def _context(
        self, name: str, query: Symbolic, turned: Symbolic, value: Symbolic, biases: Biases
    ) -> Symbolic:
        """As `Blocks.attention`, a head at a time."""
        queries = self._matrices(f"{name}.query.heads", query, 3)
        keys = self._matrices(f"{name}.key.heads", turned, 1)
        values = self._matrices(f"{name}.value.heads", value, 3)
        row = op(f"{name}.bias.row", tf.squeeze, axis=(2,))(biases.mask)  # (B, 1, S) or (B, S, S)
        kind, context = self._unbiased(SCORES, biases), []
        for head, (q, k, v) in enumerate(zip(queries, keys, values, strict=True)):
            part = f"{name}.{head}"
            scores = self.matmul(f"{part}.scores", q, k, kind)
            own = self._of_head(part, biases.relative, head)
            scores = self._biased(f"{part}.{{}}_scores", scores, Biases(row, own), SCORES)
            softmax = keras.layers.Softmax(name=f"{part}.probabilities")
            shares = self._step(softmax, scores, Probabilities(name))  # (B, R, S)
            context.append(op(f"{part}.context", matmul)([shares, v]))  # (B, R, D)
        joined = self._step(keras.layers.Concatenate(2, name=f"{name}.context.heads"), context)
        return op(f"{name}.context", expand)(joined)

    def _of_head(self, name: str, relative: Symbolic | None, head: int) -> Symbolic | None:
        """(1, S, H, S) -> (1, S, S)."""
        if relative is None:
            return None
        return op(f"{name}.relative", lambda bias: bias[:, :, head])(relative)

    def _matrices(self, name: str, x: Symbolic, axis: int) -> list[Symbolic]:
        parts = self._split(name, x, axis)
        return [
            op(f"{name}.{head}", tf.squeeze, axis=(2,))(part) for head, part in enumerate(parts)
        ]


# What an encoder can be made into, by name.
GRAPHS: Mapping[str, type[IntegerBlocks]] = {
    INTEGER: IntegerBlocks,
    "edgetpu": EdgeTpuBlocks,
    "edgetpu-plain": PlainEdgeTpuBlocks,
}
