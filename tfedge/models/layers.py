"""The few layers that tf_keras lacks, each made of ops that TFLite has kernels for (no Einsum).

What has weights is a layer, all else a function; `op` makes a layer of it. Shapes use B = batch,
S = sequence length, C = channels, H = heads, D = channels per head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras


def op(name: str, function: Callable[..., Any], **arguments: Any) -> keras.layers.Layer:
    """A function of a tensor, or of a list of tensors, as a layer."""
    return keras.layers.Lambda(function, arguments=arguments, name=name)


class NoNorm(keras.layers.Layer):
    """MobileBERT's replacement of layer norm: gamma * x + beta (Sun et al. 2020, section 3.4).

    Args:
        shifts: whether beta is there to be trained, and in checkpoints.
    """

    def __init__(self, shifts: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shifts = shifts

    def build(self, input_shape: tf.TensorShape) -> None:
        channels = int(input_shape[-1])
        self.gamma = self.add_weight("gamma", (channels,), initializer="ones")
        self.beta = self.add_weight("beta", (channels,), initializer="zeros", trainable=self.shifts)
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.gamma + self.beta if self.shifts else x * self.gamma


class LayerNorm(NoNorm):
    """Layer normalisation over the last axis (Ba et al. 2016, arXiv:1607.06450).

    `keras.layers.LayerNormalization` takes a fused batch norm on this path, which TFLite turns into
    reshapes and a chain of element-wise ops; this is the plain chain.

    Args:
        epsilon: added to the variance.
    """

    def __init__(self, epsilon: float = 1e-12, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, x: tf.Tensor) -> tf.Tensor:
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(centred * centred, axis=-1, keepdims=True)
        return self.gained(centred * tf.math.rsqrt(variance + self.epsilon))

    def gained(self, x: tf.Tensor) -> tf.Tensor:
        """What comes out of what is normalised."""
        return super().call(x)


class ApartLayerNorm(LayerNorm):
    """Layer norm whose gain stays out of the weights of dense layers behind it, see `apart`."""

    def gained(self, x: tf.Tensor) -> tf.Tensor:
        return apart(x, self.gamma, self.beta if self.shifts else None)


def apart(x: tf.Tensor, gain: tf.Tensor, shift: tf.Tensor | None) -> tf.Tensor:
    """x * gain + shift where TFLiteConverter leaves it; products and sums it would move into the
    weights of dense layers.

    What those read then lacks its gains: the few massive channels of a token dwarf all others, which
    are lost where a token is rounded in one scale.
    """
    if shift is None:
        return tf.maximum(x * gain, tf.float32.min)
    return x * gain - -1.0 * shift


class Table(keras.layers.Layer):
    """A table of learned rows."""

    def __init__(self, rows: int, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows, self.channels = rows, channels

    def build(self, input_shape: tf.TensorShape) -> None:
        shape = (self.rows, self.channels)
        self.embeddings = self.add_weight("embeddings", shape, initializer=initializer())
        super().build(input_shape)


class PositionEmbedding(Table):
    """S rows of a learned position table, to be added to a (B, S, C) tensor.

    Args:
        max_positions: the most tokens.
        first: the row of the first token; those before it are kept and never read.
    """

    def __init__(self, max_positions: int, channels: int, first: int = 0, **kwargs: Any) -> None:
        super().__init__(first + max_positions, channels, **kwargs)
        self.max_positions, self.first = max_positions, first

    def call(self, input_ids: tf.Tensor) -> tf.Tensor:
        length = input_ids.shape[1] or tf.shape(input_ids)[1]
        return self.embeddings[tf.newaxis, self.first : self.first + length]  # (1, S, C)


class TableRow(Table):
    """The one row of a table, (1, 1, C), to be added to every token of a (B, S, C) tensor."""

    def call(self, input_ids: tf.Tensor) -> tf.Tensor:
        return self.embeddings[tf.newaxis]


class RelativeBias(Table):
    """What each head adds to a score for how far the key is behind the query, (1, H, S, S).

    Distances go by buckets as in T5 (Raffel et al. 2020, arXiv:1910.10683, section 2.1): half of them
    for keys behind the query and half for those before it; of each half, half for single distances and
    half for distances that grow by a constant factor up to `farthest`, beyond which all are one.

    Args:
        factor: what all are multiplied by.
        perm: the order of the axes of the result.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        farthest: int,
        factor: float,
        perm: Sequence[int],
        **kwargs: Any,
    ) -> None:
        super().__init__(*shape, **kwargs)
        self.farthest, self.factor, self.perm = farthest, factor, perm

    def call(self, attention_mask: tf.Tensor) -> tf.Tensor:
        length = attention_mask.shape[1] or tf.shape(attention_mask)[1]
        table = tf.transpose(self.embeddings * self.factor)  # (H, buckets)
        bias = tf.gather(table, self.bucket_of(length), axis=1)[tf.newaxis]
        return tf.transpose(bias, self.perm)

    def bucket_of(self, length: int | tf.Tensor) -> tf.Tensor:
        """The bucket of each query (rows) and key (columns), int32 (S, S)."""
        position = tf.range(length)
        distance = position[:, tf.newaxis] - position[tf.newaxis, :]
        half = self.rows // 2
        single = half // 2
        near = tf.abs(distance)
        # In float32, as transformers computes it, so that no distance falls on the other side.
        growth = tf.math.log(tf.cast(near, tf.float32) / single) / math.log(self.farthest / single)
        far = single + tf.cast(growth * (half - single), tf.int32)
        bucket = tf.where(near < single, near, tf.minimum(far, half - 1))
        return bucket + tf.where(distance < 0, half, 0)


class Token(keras.layers.Layer):
    """(B, S, C) -> (B, C), or (B, 1, C) with `keepdims`: one token, by default the first, [CLS]."""

    def __init__(self, index: int = 0, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index, self.keepdims = index, keepdims

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return x[:, self.index : self.index + 1] if self.keepdims else x[:, self.index]


class PatchDense(keras.layers.Layer):
    """A dense layer on the patches of an image: (B, height, width, 3) -> (B, patches, units).

    That is the convolution of ViT (Dosovitskiy et al. 2021, section 3.1), whose stride is its
    size. The image may come as pixels p; the layer then reads scale * p + offset, which is folded
    into its constants.

    Args:
        patch_size: height and width.
        scale, offset: one number for each of red, green and blue.
        use_bias: whether there is a bias beside.
    """

    def __init__(
        self,
        units: int,
        patch_size: Sequence[int],
        scale: Sequence[float] = (1.0, 1.0, 1.0),
        offset: Sequence[float] = (0.0, 0.0, 0.0),
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units, self.patch_size, self.use_bias = units, tuple(patch_size), use_bias
        self.scale, self.offset = tuple(scale), tuple(offset)

    def build(self, input_shape: tf.TensorShape) -> None:
        shape = (*self.patch_size, int(input_shape[-1]), self.units)
        self.kernel = self.add_weight("kernel", shape, initializer=initializer())
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight("bias", (self.units,), initializer="zeros")
        super().build(input_shape)

    def constant(self) -> tf.Tensor:
        """What a patch is multiplied by, (patch height * patch width * 3, units)."""
        scaled = self.kernel * tf.constant(self.scale, tf.float32)[:, tf.newaxis]
        return tf.reshape(scaled, (-1, self.units))

    def term(self) -> tf.Tensor:
        """What is added, (units,)."""
        offset = tf.constant(self.offset, tf.float32)[:, tf.newaxis]
        term = tf.reduce_sum(self.kernel * offset, axis=(0, 1, 2))
        return term if self.bias is None else self.bias + term

    def rows(self, images: tf.Tensor) -> tf.Tensor:
        """The patches, a row each: (B, patches, patch height * patch width * 3)."""
        height, width, channels = images.shape[1:]
        rows, columns = self.patch_size
        down, across = height // rows, width // columns
        # Four dimensions at most, as many as the old kernels of TRANSPOSE take.
        strips = tf.reshape(images, (-1, rows, across, columns * channels))
        turned = tf.transpose(strips, (0, 2, 1, 3))  # (B * down, across, rows, columns * 3)
        return tf.reshape(turned, (-1, down * across, rows * columns * channels))

    def call(self, images: tf.Tensor) -> tf.Tensor:
        rows = self.rows(images)
        flat = tf.reshape(rows, (-1, rows.shape[2]))
        y = tf.nn.bias_add(tf.matmul(flat, self.constant()), self.term())
        return tf.reshape(y, (-1, rows.shape[1], self.units))


def initializer() -> keras.initializers.Initializer:
    """BERT's initialisation, which every architecture here keeps."""
    return keras.initializers.TruncatedNormal(stddev=0.02)


def token_at(inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Hidden states (B, S, C) and a position, at all places of int32 (B, S) -> (B, C); of (B, S, 1, C)
    (B, 1, 1, C)."""
    hidden, position = inputs
    row = tf.gather(hidden, position[:, :1], batch_dims=1)
    return row if row.shape.rank == 4 else tf.squeeze(row, axis=1)


def attention_bias(attention_mask: tf.Tensor, mask_value: float) -> tf.Tensor:
    """attention_mask of 0 and 1, int32 (B, S) -> what is added to the scores, (B, 1, 1, S).

    A look-up in a table of two values rather than arithmetic on a cast: it quantises exactly and
    keeps CAST, which 16x8 conversion refuses, out of the graph.
    """
    bias = tf.gather(tf.constant([mask_value, 0.0]), attention_mask)
    length = attention_mask.shape[1] or tf.shape(attention_mask)[1]
    return tf.reshape(bias, (-1, 1, 1, length))


def split_heads(x: tf.Tensor, count: int, keys: bool = False) -> tf.Tensor:
    """(B, S, ..., C) -> (B, H, S, D), or (B, H, D, S) for keys.

    Keys come out transposed so that the product with the queries needs no transposed operand:
    TFLite's int8 batch matmul is several times slower with one.
    """
    length = x.shape[1] or tf.shape(x)[1]
    heads = tf.reshape(x, (-1, length, count, x.shape[-1] // count))
    return tf.transpose(heads, (0, 2, 3, 1) if keys else (0, 2, 1, 3))


def merge_heads(x: tf.Tensor) -> tf.Tensor:
    """(B, H, S, D) -> (B, S, H * D)."""
    length = x.shape[2] or tf.shape(x)[2]
    return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, length, x.shape[1] * x.shape[3]))


def matmul(operands: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """The product of two activations over their last two axes."""
    return tf.matmul(*operands)


def total(operands: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """The sum of two tensors."""
    first, second = operands
    return first + second


def scale(x: tf.Tensor, factor: float) -> tf.Tensor:
    """factor * x."""
    return x * factor


def first(x: tf.Tensor, count: int, axis: int = 1) -> tf.Tensor:
    """The first `count` along an axis, by default of the tokens."""
    return x[(slice(None),) * axis + (slice(count),)]


def trigram(x: tf.Tensor) -> tf.Tensor:
    """(B, S, C) -> (B, S, 3C): the next, this and the previous token (MobileBERT, section 3.3)."""
    following = tf.pad(x[:, 1:], ((0, 0), (0, 1), (0, 0)))
    previous = tf.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))
    return tf.concat((following, x, previous), axis=2)


def patch_mean(x: tf.Tensor, first: int, keepdims: bool = False) -> tf.Tensor:
    """(B, S, ..., C) -> (B, ..., C): the mean of the tokens from number `first` on."""
    return tf.reduce_mean(x[:, first:], axis=1, keepdims=keepdims)


def joined(parts: list[tf.Tensor]) -> tf.Tensor:
    """Tensors one behind the other along their channels."""
    return tf.concat(parts, axis=-1)


def led(x: tf.Tensor, count: int) -> tf.Tensor:
    """(B, S, ...) -> (B, count + S, ...): rows of zeros before the others."""
    return tf.pad(x, ((0, 0), (count, 0), *((0, 0),) * (len(x.shape) - 2)))


def channel(x: tf.Tensor, index: int) -> tf.Tensor:
    """(B, S, C) -> (B, S): one channel of every token."""
    return x[..., index]


def mean_pooling(inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Mean of the hidden states of real tokens: (B, S, C) and attention_mask (B, S) -> (B, C).

    The mask becomes a row of weights 1/n, so that one matmul does the masked mean; an integer mask
    is looked up, not cast, for the reason given at `attention_bias`.
    """
    hidden_states, attention_mask = inputs
    mask = tf.gather(tf.constant([0.0, 1.0]), attention_mask)
    # At least one: an all-padding row of a batch must not divide by zero.
    count = tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)
    weights = mask / count  # (B, S)
    pooled = tf.matmul(weights[:, tf.newaxis], hidden_states)  # (B, 1, C)
    return tf.squeeze(pooled, axis=1)


def without(inputs: tuple[tf.Tensor, tf.Tensor], token: int) -> tf.Tensor:
    """A mask, int32 (B, S), with 0 where the ids, int32 (B, S), are `token`."""
    mask, ids = inputs
    return tf.where(tf.equal(ids, token), 0, mask)


def expanded(x: tf.Tensor) -> tf.Tensor:
    """(B, C) -> (B, 1, C)."""
    return x[:, tf.newaxis]


def unit_length(x: tf.Tensor) -> tf.Tensor:
    """x / ||x|| over the last axis, with the epsilon of torch's `normalize`."""
    return tf.math.l2_normalize(x, axis=-1, epsilon=1e-24)


# Of the activations that are x * sigmoid(slope * x), by the names of `tfedge.architectures.fields`;
# transformers' activations.py has the same.
SLOPES = {"silu": 1.0, "quick_gelu": 1.702}


def gated(x: tf.Tensor, slope: float) -> tf.Tensor:
    """x * sigmoid(slope * x): SiLU, and with 1.702 a GELU nearly (Hendrycks and Gimpel 2016, section
    2)."""
    return x * tf.sigmoid(x if slope == 1.0 else slope * x)


def gelu(x: tf.Tensor, approximate: bool = False) -> tf.Tensor:
    """x * Phi(x) (Hendrycks and Gimpel 2016), or its tanh approximation (`gelu_new`)."""
    return tf.nn.gelu(x, approximate=approximate)
