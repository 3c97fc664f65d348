"""Gives what dense layers read scales of its own, apart from those of the residual connection.

One vector of factors evens out all that is added up in a stream (`tfedge.quantize.equalize`). Where a
dense layer adds far larger numbers in a few channels than the norm before it puts out, the vector
suits neither: what the layers behind that norm read comes too small in these channels, and their
weights, which the factors are folded into, too uneven for 8 bits. There the norm has a second gain,
which puts out the same in factors for its readers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.kinds import FREE, Kind
from tfedge.architectures.parts import Stream, families
from tfedge.models.blocks import GraphOptions, Symbolic
from tfedge.models.build import Encoder
from tfedge.models.layers import LayerNorm
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.equalize import FACTORS, Ends, Factors, evenness, stream_ends
from tfedge.quantize.felt import felt_most
from tfedge.quantize.integer import IntegerBlocks
from tfedge.quantize.layers import ScaleShift
from tfedge.quantize.residuals import WORTHWHILE, product_error, reading_error
from tfedge.quantize.rewrite import Decision, Rewrite

if TYPE_CHECKING:
    from tfedge.quantize.prepare import Lowering

# What the blocks find in the decisions: factors (C,) by the name of a stream.
READS = "reads"
# Powers of the channels' peaks that the factors may be.
_STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.7)
_ROWS_OF_EACH = 4  # one token of so many is kept


def read_name(norm: str) -> str:
    """The tensor that the readers of a norm's result with factors of their own read."""
    return f"{norm}.read"


class Regain(keras.layers.Layer):
    """The result of a norm in other factors, from what the norm's gain reads: (B, S, 1, C) as it is.

    Args:
        gain: the norm's gain, built; no config can say which one that is.
        ratio: the norm's factors in units of the new ones, (C,).
    """

    def __init__(self, gain: ScaleShift, ratio: np.ndarray, **options: Any) -> None:
        super().__init__(**options)
        self.gain, self.ratio = gain, np.float32(ratio)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.reshape(self.gain.gamma * self.ratio, (1, 1, -1, 1))
        y = tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID")
        return y + self.gain.beta * self.ratio


class Rescale(keras.layers.Layer):
    """A tensor times `ratio` (C,): (B, S, 1, C) as it is, by a depthwise convolution."""

    def __init__(self, ratio: np.ndarray, **options: Any) -> None:
        super().__init__(**options)
        self.ratio = np.float32(ratio)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.reshape(tf.constant(self.ratio), (1, 1, -1, 1))
        return tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID")


class ReadBlocks(IntegerBlocks):
    """Builds the blocks of one encoder with a second result of the norms that want one."""

    def __init__(
        self,
        config: EncoderConfig,
        options: GraphOptions,
        decisions: Mapping[str, Mapping[str, Any]] | None = None,
        **given: Any,
    ) -> None:
        super().__init__(config, options, decisions, **given)
        own = self.decisions.get(READS, {})
        streams = [item for item in config.architecture.streams(config) if item.name in own]
        self._ratios = {
            item.writers[0]: self.decisions[FACTORS][item.name] / np.asarray(own[item.name])
            for item in streams
        }
        self._own_readers = {reader for item in streams for reader in item.readers}
        # By the identity of a norm's result, with it, so that no identity is used again.
        self._reads: dict[int, tuple[Symbolic, Symbolic]] = {}

    def _put_out(
        self, gain: ScaleShift, scaled: Symbolic, terms: Mapping[str, Symbolic]
    ) -> Symbolic:
        result = super()._put_out(gain, scaled, terms)
        if gain.name in self._ratios:
            name, ratio = read_name(gain.name), self._ratios[gain.name]
            if len(terms) == 1:
                read = self._step(Regain(gain, ratio, name=name), scaled)
            else:
                read = self._step(Rescale(ratio, name=name), self.operand(result))
            self._reads[id(result)] = result, read
        return result

    def norm(self, name: str, x: Symbolic, epsilon: float | None = None) -> Symbolic:
        result = super().norm(name, x, epsilon)
        if name in self._ratios and self._is_float(name):
            with self.site(name, "norm"):
                read = self._step(Rescale(self._ratios[name], name=read_name(name)), result)
            self._reads[id(result)] = result, read
        return result

    def dropout(self, name: str, x: Symbolic) -> Symbolic:
        drop = super().dropout
        return self._alike(x, lambda tensor, suffix: drop(name + suffix, tensor))

    def computed_rows(self, index: int, x: Symbolic, part: str = "input") -> Symbolic:
        compute = super().computed_rows
        return self._alike(x, lambda tensor, suffix: compute(index, tensor, part + suffix))

    def _alike(self, x: Symbolic, function: Callable[[Symbolic, str], Symbolic]) -> Symbolic:
        """What becomes of a tensor, and of what is read in its place."""
        result = function(x, "")
        if id(x) in self._reads and result is not x:
            self._reads[id(result)] = result, function(self._reads[id(x)][1], ".read")
        return result

    def _read_by(self, name: str, x: Symbolic) -> Symbolic:
        return self._reads[id(x)][1] if name in self._own_readers else x

    def dense(self, name: str, units: int, x: Symbolic, kind: Kind = FREE) -> Symbolic:
        return super().dense(name, units, self._read_by(name, x), kind)

    def activated_dense(self, name: str, activation: str, units: int, x: Symbolic) -> Symbolic:
        return super().activated_dense(name, activation, units, self._read_by(name, x))


class Reads(Rewrite):
    """Gives the readers of a norm factors of their own where that makes their error much smaller."""

    key = READS
    value = list[float]
    passes = 1
    blocks = ReadBlocks

    def decide(self, lowering: Lowering, observe: Callable[[Encoder], Observer]) -> Decision:
        ends = stream_ends(lowering.weights, lowering.streams)
        streams = [item for item in _behind_norms(lowering) if item.name in ends]
        rows: dict[str, list[np.ndarray]] = {item.writers[0]: [] for item in streams}
        tops: dict[str, np.ndarray] = {}
        for tensors in observe(lowering.plain).tensors():
            for name in rows:
                value = tensors[name].reshape(-1, tensors[name].shape[-1])
                tops[name] = np.maximum(tops.get(name, 0.0), np.abs(value).max(0))
                rows[name].append(value[::_ROWS_OF_EACH])
        found, gains = {}, {}
        for family in families(streams):
            name, norms = family[0].name, [stream.writers[0] for stream in family]
            shared = lowering.decided[FACTORS][name]
            read = np.concatenate([part for norm in norms for part in rows[norm]])
            best = best_factors(ends[name], read, np.max([tops[norm] for norm in norms], 0), shared)
            if best is not None:
                without, with_own = (
                    sum(_loss(lowering, stream, each) for stream in family)
                    for each in (shared, best)
                )
                found[name], gains[name] = best.tolist(), without - with_own
        kept = felt_most(gains)
        return {
            stream.name: found[family[0].name]
            for family in families(streams)
            for stream in family
            if family[0].name in kept
        }

    def apply(self, lowering: Lowering, encoder: Encoder, blocks: type[IntegerBlocks]) -> None:
        _fold(lowering, encoder.model, lowering.decided[FACTORS], lowering.decided[READS])

    def undo(self, lowering: Lowering, plain: keras.Model, model: keras.Model) -> None:
        _fold(lowering, plain, lowering.decided[READS], lowering.decided[FACTORS])

    def misfits(self, lowering: Lowering, decision: Decision) -> set[str]:
        sizes = {
            item.name: len(lowering.decided[FACTORS][item.name]) for item in _behind_norms(lowering)
        }
        return {
            name
            for name, factors in decision.items()
            if len(factors) != sizes.get(name) or not all(np.array(factors) > 0)
        }


def _loss(lowering: Lowering, stream: Stream, factors: np.ndarray) -> float:
    """What answers lose where the readers of a stream read its start divided by factors (C,)."""
    felt, total = lowering.felt, 0.0
    read = felt.values[stream.writers[0]]
    for reader in stream.readers:
        kernel = lowering.weights.get_layer(reader).kernel.numpy()
        name = reader if reader in felt.slopes else f"{reader}.act"
        total += felt.loss(felt.moved(name, product_error(kernel, read, factors)))
    return total


def _behind_norms(lowering: Lowering) -> list[Stream]:
    """The residual connections that start from a norm, which alone can have a second gain, and so do
    all of their family."""
    layer = lowering.weights.get_layer
    return [
        item
        for family in families(lowering.streams)
        if all(isinstance(layer(item.writers[0]), LayerNorm) for item in family)
        for item in family
        if item.dense and item.readers
    ]


def best_factors(
    ends: Ends, read: np.ndarray, tops: np.ndarray, shared: np.ndarray
) -> np.ndarray | None:
    """The factors (C,) of least error, or None where those of the stream do nearly as well.

    Args:
        read: what the kernels are multiplied with, undivided, of some tokens, (n, C).
        tops: its largest absolute value, over all tokens, (C,).
        shared: the factors of the stream, (C,).
    """
    even = evenness({"": tops})
    errors = [reading_error(ends.kernels, read, even**strength) for strength in _STRENGTHS]
    best = int(np.argmin(errors))
    if errors[best] < WORTHWHILE * reading_error(ends.kernels, read, shared):
        return even ** _STRENGTHS[best]
    return None


def _fold(lowering: Lowering, model: keras.Model, old: Factors, new: Factors) -> None:
    """Has the kernels of readers with factors of their own hold `new` ones in place of `old` ones."""
    for stream in lowering.streams:
        if stream.name in lowering.decided[READS]:
            ratio = np.asarray(new[stream.name]) / np.asarray(old[stream.name])
            for reader in stream.readers:
                kernel = model.get_layer(reader).kernel
                kernel.assign(kernel.numpy() * ratio[:, None])
