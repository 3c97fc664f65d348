"""Operations in the Edge TPU compiler's table; in float they are plain algebra.

Tensors have at most three dimensions above 1 while the batch is 1. B = batch, S = tokens, R = rows
of an attention (S, or 1 where only [CLS] is wanted), C = channels, H = heads, D = channels per head.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfedge.models.layers import Table
from tfedge.quantize.layers import STRENGTH, ChannelMean, ChannelScale, NormConstant

# Channels of a norm's input that are squared by themselves, the largest ones.
OUTLIERS = 8


def _size(x: tf.Tensor, axis: int) -> Any:
    """A size of a tensor, a number where it is known."""
    return x.shape[axis] if x.shape[axis] is not None else tf.shape(x)[axis]


class TypeEmbedding(Table):
    """Rows of a table of two as arithmetic: types (B, S, 1, 1) of 0 and 1 -> (B, S, 1, C).

    The first row and, times the type, what the second one adds; a 1 x 1 convolution has one scale a
    channel, so both are exact.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        first, second = self.embeddings[0], self.embeddings[1]
        step = tf.reshape(second - first, (1, 1, 1, -1))
        return tf.nn.bias_add(tf.nn.conv2d(x, step, 1, "VALID"), first)


def as_row(x: tf.Tensor) -> tf.Tensor:
    """(B, S, 1, C) -> (B, 1, 1, S * C): one row that broadcasts over others."""
    sizes = [_size(x, axis) for axis in (1, 2, 3)]
    return tf.reshape(x, (_size(x, 0), 1, 1, sizes[0] * sizes[1] * sizes[2]))


def as_column(x: tf.Tensor) -> tf.Tensor:
    """(B, S) or (B, 1, 1, S) -> (B, S, 1, 1)."""
    return tf.reshape(x, (_size(x, 0), _size(x, -1), 1, 1))


def split(x: tf.Tensor, parts: int, axis: int) -> list[tf.Tensor]:
    """Equal parts of a tensor along one axis."""
    return [x] if parts == 1 else tf.split(x, parts, axis)


def repeat(inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Each channel as often as the second tensor has channels: (B, R, 1, C) -> (B, R, 1, C * N).

    A depthwise convolution with N weights of 1 a channel: no operation then has to broadcast both
    of its operands, of which neither the compiler's table nor any published log says anything.
    """
    x, like = inputs
    count, channels = _size(like, 3), x.shape[-1]
    if channels is None or not isinstance(count, int):
        return tf.repeat(x, count, axis=-1)
    return tf.nn.depthwise_conv2d(x, tf.ones((1, 1, channels, count)), (1, 1, 1, 1), "VALID")


def sum_of_blocks(inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """(B, R, 1, N * C) -> the sum of its N blocks of C channels, (B, R, 1, C).

    The blocks side by side under one depthwise kernel as wide as all of them, which adds up in 32
    bits. N and C are the sizes of axes 1 and 3 of a second tensor.
    """
    x, like = inputs
    blocks, channels = _size(like, 1), _size(like, 3)
    side_by_side = tf.reshape(x, (_size(x, 0), _size(x, 1), blocks, channels))
    if not (isinstance(blocks, int) and isinstance(channels, int)):
        return tf.reduce_sum(side_by_side, axis=2, keepdims=True)
    ones = tf.ones((1, blocks, channels, 1))
    return tf.nn.depthwise_conv2d(side_by_side, ones, (1, 1, 1, 1), "VALID")


def sum_of_tokens(x: tf.Tensor) -> tf.Tensor:
    """(B, S, 1, C) -> (B, 1, 1, C)."""
    length, channels = x.shape[1], x.shape[3]
    if length is None:
        return tf.reduce_sum(x, axis=1, keepdims=True)
    return tf.nn.depthwise_conv2d(x, tf.ones((length, 1, channels, 1)), (1, 1, 1, 1), "VALID")


def sum_of_channels(x: tf.Tensor) -> tf.Tensor:
    """(B, S, 1, C) -> (B, S, 1, 1), as a 1 x 1 convolution, which adds up in 32 bits."""
    return tf.nn.conv2d(x, tf.ones((1, 1, x.shape[-1], 1)), 1, "VALID")


def joined(x: tf.Tensor) -> tf.Tensor:
    """(B, R, H, D) -> (B, R, 1, H * D)."""
    return tf.reshape(x, (_size(x, 0), _size(x, 1), 1, x.shape[2] * x.shape[3]))


def largest(x: tf.Tensor) -> tf.Tensor:
    """The maximum over the last axis, which stays with size 1."""
    return tf.reduce_max(x, axis=-1, keepdims=True)


def unit_length(x: tf.Tensor) -> tf.Tensor:
    """x / ||x|| over the last axis: L2_NORMALIZATION, whose int8 result has steps of 1/128."""
    return tf.math.l2_normalize(x, axis=-1, epsilon=1e-12)


def _is_outlier(factors: np.ndarray) -> np.ndarray:
    """Which channels are squared by themselves, bool (C,)."""
    found = np.zeros(len(factors), bool)
    found[np.argsort(-factors, kind="stable")[:OUTLIERS]] = True
    return found


class EvenScale(ChannelScale):
    """A norm's input with all channels about equally large, outliers made 0: (B, S, 1, C)."""

    def constant_of(self, factors: np.ndarray) -> np.ndarray:
        # The input comes divided by peak ** STRENGTH; this divides by the rest of the peak.
        return np.where(_is_outlier(factors), 0.0, factors ** (1 - 1 / STRENGTH))


class EvenVariance(ChannelMean):
    """What squares of `EvenScale`'s result add to the variance: (B, S, 1, C) -> (B, S, 1, 1)."""

    def constant_of(self, factors: np.ndarray) -> np.ndarray:
        return np.where(_is_outlier(factors), 0.0, factors ** (2 / STRENGTH) / len(factors))

    def constant(self) -> tf.Tensor:
        """What the squares are multiplied by, (C,)."""
        return super().constant() / self.unit


class PickOutliers(NormConstant):
    """The outliers among the channels in their own size: (B, S, 1, C) -> (B, S, 1, `OUTLIERS`).

    A 1 x 1 convolution with one weight an output, which is exact. Divided by the root of C and of
    the unit, so that the sum of squares is a share of the variance.
    """

    def constant_of(self, factors: np.ndarray) -> np.ndarray:
        """A matrix, (C, `OUTLIERS`)."""
        rows = np.flatnonzero(_is_outlier(factors))
        weights = np.zeros((len(factors), OUTLIERS), np.float32)
        weights[rows, np.arange(len(rows))] = factors[rows] / np.sqrt(len(factors))
        return weights

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = self.vector / self.unit**0.5
        return tf.nn.conv2d(x, kernel[tf.newaxis, tf.newaxis], 1, "VALID")
