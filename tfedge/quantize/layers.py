"""Operations whose int8 kernels are fast and exact on both runtimes; in float they are plain algebra.

Tensors are (B, S, 1, C), B = batch, S = tokens, C = channels: 1 x 1 convolutions are what every
runtime, the Edge TPU's included, has its best kernels for, and the only matrix products that
tflite-runtime 2.14 runs on 64-bit ARM with one weight scale a channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.models.layers import LayerNorm, NoNorm, PatchDense, apart
from tfedge.models.layers import op as op

# Tokens whose inner products are computed together in `sum_of_squares`.
_BLOCK = 16
_LEAST_BLOCK = 4  # where more would take filling up
# How much of a channel's excess moves from the activations into the weights (SmoothQuant's
# migration strength); 1 would make all channels equal and the weights as uneven as those were.
STRENGTH = 0.65
# Of a residual stream the one of least error is taken.
STRENGTHS = (STRENGTH, 0.75)
# Where the layers that read it may have factors of their own, see `tfedge.quantize.reads`.
STRONGER = (0.85, 1.0)


class PointwiseDense(keras.layers.Dense):
    """A dense layer as a 1 x 1 convolution: (B, S, 1, C) -> (B, S, 1, units)."""

    def constant(self) -> tf.Tensor:
        """What the input is multiplied by, (C, units)."""
        return self.kernel

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        y = tf.nn.conv2d(inputs, self.constant()[tf.newaxis, tf.newaxis], 1, "VALID")
        return tf.nn.bias_add(y, self.bias) if self.use_bias else y


class PointwisePatches(PatchDense):
    """A `PatchDense` as a 1 x 1 convolution: (B, height, width, 3) -> (B, patches, 1, units)."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        rows = self.rows(images)[:, :, tf.newaxis]
        y = tf.nn.conv2d(rows, self.constant()[tf.newaxis, tf.newaxis], 1, "VALID")
        return tf.nn.bias_add(y, self.term())


class TrigramDense(PointwiseDense):
    """MobileBERT's trigram embedding, a dense layer over [next, this, previous], as a convolution.

    The kernel is that of the dense layer, (3C, units); its thirds are the taps of a convolution
    along the tokens in reverse order.
    """

    def build(self, input_shape: tf.TensorShape) -> None:
        super().build((*input_shape[:-1], 3 * input_shape[-1]))
        self.input_spec = None

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        taps = tf.reshape(self.constant(), (3, 1, inputs.shape[-1], self.units))[::-1]
        return tf.nn.bias_add(tf.nn.conv2d(inputs, taps, 1, "SAME"), self.bias)


class ScaleShift(NoNorm):
    """gamma * x + beta, one factor and one term a channel, as a 1 x 1 depthwise convolution.

    There is a term where training has none too: what takes rounding's errors back
    (`tfedge.quantize.bias`). Its int8 kernel has one weight scale a channel, so the factors are exact,
    and adds the terms in 32 bits: one rounding where a multiplication and an addition would have two.
    """

    def call(self, x: tf.Tensor) -> tf.Tensor:
        kernel = tf.reshape(self.gamma, (1, 1, -1, 1))
        return tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "VALID") + self.beta


class NormConstant(keras.layers.Layer):
    """What this layer within layer norm `norm`, whose variance is counted in a `unit`, multiplies by
    follows from the factors of equalisation."""

    def __init__(self, norm: str = "", unit: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm = norm
        self.unit = unit

    def build(self, input_shape: tf.TensorShape) -> None:
        self.channels = int(input_shape[-1])
        shape = self.constant_of(np.ones(self.channels)).shape
        self.vector = self.add_weight("vector", shape, initializer="ones", trainable=False)
        super().build(input_shape)

    def constant_of(self, factors: np.ndarray) -> np.ndarray:
        """What `vector` is of the factors (C,), see `tfedge.quantize.equalize.channel_factors`."""
        raise NotImplementedError


class EqualizedLayerNorm(LayerNorm, NormConstant):
    """Layer norm, in float, of a tensor that comes divided by `vector` (C,); gamma holds that too."""

    def constant_of(self, factors: np.ndarray) -> np.ndarray:
        return factors

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return super().call(x * self.vector)

    def gained(self, x: tf.Tensor) -> tf.Tensor:
        return apart(x, self.gamma / self.vector, self.beta)


class ChannelScale(NormConstant):
    """x times a constant vector, (C,), whose squares are counted in `unit`."""

    def constant_of(self, factors: np.ndarray) -> np.ndarray:
        return factors / np.sqrt(self.channels)

    def constant(self) -> tf.Tensor:
        """What the input is multiplied by, (C,)."""
        return self.unit**-0.5 * self.vector

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.constant()


class ChannelMean(NormConstant):
    """The inner product with a constant vector, (C,): (B, S, 1, C) -> (B, S, 1, 1)."""

    def constant_of(self, factors: np.ndarray) -> np.ndarray:
        return factors / self.channels

    def constant(self) -> tf.Tensor:
        """What the input is multiplied by, (C,)."""
        return self.vector

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, tf.reshape(self.constant(), (1, 1, -1, 1)), 1, "VALID")


class Spread(NormConstant):
    """One number a token times a vector: (B, S, 1, 1) -> (B, S, 1, C).

    The vector is the gain of a layer norm, a built layer, times a constant one; where the gain is
    trained, this follows. No config can say which layer that is.
    """

    def __init__(self, gain: ScaleShift, **kwargs: Any) -> None:
        super().__init__(norm=gain.name, **kwargs)
        self.gain = gain

    def build(self, input_shape: tf.TensorShape) -> None:
        super().build((*input_shape[:-1], *self.gain.gamma.shape))

    def constant_of(self, factors: np.ndarray) -> np.ndarray:
        return -1 / factors

    def constant(self) -> tf.Tensor:
        """The vector, (C,)."""
        return self.gain.gamma * self.vector

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, tf.reshape(self.constant(), (1, 1, 1, -1)), 1, "VALID")


class MinusMean(NormConstant):
    """One number a token taken off all channels: (B, S, 1, 1) -> (B, S, 1, channels)."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = channels

    def build(self, input_shape: tf.TensorShape) -> None:
        super().build((*input_shape[:-1], self.width))

    def constant_of(self, factors: np.ndarray) -> np.ndarray:
        return -1 / factors

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, tf.reshape(self.vector, (1, 1, 1, -1)), 1, "VALID")


def affine(x: tf.Tensor, factor: float = 1.0, term: float = 0.0) -> tf.Tensor:
    """factor * x + term for one number a token, (B, S, 1, 1)."""
    kernel = tf.constant(factor, tf.float32, (1, 1, 1, 1))
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), [term])


def sum_of_squares(x: tf.Tensor) -> tf.Tensor:
    """The sum of x * x over the channels: (B, S, 1, C) -> (B, S, 1, 1).

    In a static graph the diagonal of products of small blocks of tokens: a batch matmul adds up in
    32 bits, where a tensor of squares would be rounded to 8 (small squares vanish, and with them
    the variance). One token at a time would be fifteen times slower than a block of 16, the most
    that kernels take at once; a length that cannot be cut into blocks of at least 4, as an image's
    197 tokens, is filled up with zeros.
    """
    batch, length, _, channels = x.shape
    if batch is None or length is None:
        return tf.reduce_sum(x * x, axis=-1, keepdims=True)
    block = max(size for size in range(1, _BLOCK + 1) if batch * length % size == 0)
    if length > _BLOCK and block < _LEAST_BLOCK:
        filled = tf.pad(x, ((0, 0), (0, -length % _BLOCK), (0, 0), (0, 0)))
        return sum_of_squares(filled)[:, :length]
    rows = tf.reshape(x, (-1, block, channels))
    products = tf.matmul(rows, rows, transpose_b=True)  # (B * S / block, block, block)
    if block > 1:
        products = tf.reshape(products, (-1, block * block))[:, :: block + 1]
    return tf.reshape(products, (batch, length, 1, 1))


def merge_heads(x: tf.Tensor) -> tf.Tensor:
    """(B, H, S, D) -> (B, S, 1, H * D)."""
    length = x.shape[2] or tf.shape(x)[2]
    return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, length, 1, x.shape[1] * x.shape[3]))


def inverse_count(attention_mask: tf.Tensor, max_length: int) -> tf.Tensor:
    """attention_mask, int32 (B, S) -> 1 / number of real tokens at each of them, (B, 1, S), float32.

    The count is an integer sum and its inverse a table look-up, so that nothing is cast; among the
    8-bit values of the table, one a length, only a factor common to all channels is rounded.
    """
    # Row of the table: the count for a real token, 0 for padding.
    count = tf.reduce_sum(attention_mask, axis=1, keepdims=True)
    row = tf.minimum(count, max_length) * attention_mask
    table = tf.constant([0.0, *(1.0 / n for n in range(1, max_length + 1))], tf.float32)
    return tf.gather(table, row)[:, tf.newaxis]


def weighted_sum(inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Weights (B, 1, S) and hidden states (B, S, 1, C) -> their sum over the tokens, (B, C)."""
    weights, hidden_states = inputs
    total = tf.matmul(weights, tf.squeeze(hidden_states, axis=2))  # (B, 1, C)
    return tf.squeeze(total, axis=1)


def one_token(x: tf.Tensor) -> tf.Tensor:
    """(B, C) -> (B, 1, 1, C)."""
    return x[:, tf.newaxis, tf.newaxis]


def expand(x: tf.Tensor) -> tf.Tensor:
    """(B, S, C) -> (B, S, 1, C)."""
    return tf.expand_dims(x, axis=2)
