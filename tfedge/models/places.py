"""What encoders know of places: tables for images, rotary positions, and windows of local layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.kinds import COSINES, FREE, MASK, Kind, Like
from tfedge.architectures.parts import Rotary
from tfedge.architectures.roformer import sinusoids
from tfedge.models.layers import Table, first, initializer, op

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic


def rotary(blocks: Blocks, name: str, base: float, mask: Symbolic, positions: int = 0) -> Rotary:
    """What turns queries and keys by angles that grow with the position (Su et al. 2021,
    arXiv:2104.09864, equation 34), the first half of each head's channels against the second.

    Args:
        positions: how many are in RoFormer's table, which is exact; 0 for angles in float32.
    """
    config, parts = blocks.config, []
    sizes: dict[str, Any] = {"heads": config.num_attention_heads, "size": config.head_size}
    sizes |= {"positions": positions} if positions else {"base": base}
    function = rotation_of_table if positions else rotation
    for part in Rotary._fields:
        label = f"{name}.{part}"
        layer = op(label, function, is_sine=part == "sines", **sizes)
        parts.append(blocks.tap(label, blocks.as_hidden(label, layer(mask)), COSINES))
    return Rotary(*parts)


def patch_rotary(
    blocks: Blocks, name: str, grid: tuple[int, int], first: int, base: float, hidden: Symbolic
) -> Rotary:
    """What turns queries and keys of patches, half of each head's pairs by the height and half by the
    width (Heo et al. 2024, arXiv:2403.13298, section 3.1); the tokens before are left as they are.

    Args:
        grid: patches down and across.
        first: the tokens before them.
    """
    sizes: dict[str, Any] = {"heads": blocks.config.num_attention_heads}
    sizes |= {"size": blocks.config.head_size, "grid": grid, "first": first, "base": base}
    parts = []
    for part in Rotary._fields:
        label = f"{name}.{part}"
        layer = op(label, patch_rotation, is_sine=part == "sines", **sizes)
        parts.append(blocks.tap(label, blocks.as_hidden(label, layer(hidden)), COSINES))
    return Rotary(*parts)


def rotated(blocks: Blocks, name: str, x: Symbolic, rotary: Rotary, kind: Kind = FREE) -> Symbolic:
    """Queries or keys (B, S, H * D), or the first few, turned."""
    swap = op(f"{name}.swapped", swapped_halves, size=blocks.config.head_size)
    like = Like(blocks.name_of(x))
    swapped = blocks.tap(f"{name}.swapped", swap(blocks.operand(x)), like)
    terms = []
    for part, factor, term in zip(Rotary._fields, rotary, (x, swapped), strict=True):
        if x.shape[1] != factor.shape[1]:  # of a pruned last layer
            factor = op(f"{name}.{part}.first", first, count=x.shape[1])(factor)
        terms.append(blocks.product(f"{name}.{part}", term, factor))
    return blocks.add(f"{name}.rotated", *terms, kind=kind)


class TokenTable(keras.layers.Layer):
    """What is added to the patches of any image, (1, tokens, C): positions and learned tokens, of which
    `leading` has names and numbers and that come before the patches; without `has_places`, these
    alone."""

    def __init__(
        self,
        tokens: int,
        leading: Sequence[tuple[str, int]],
        has_places: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tokens, self.leading, self.has_places = tokens, tuple(leading), has_places

    def build(self, input_shape: tf.TensorShape) -> None:
        channels = int(input_shape[-1])
        rows = dict(self.leading)
        if self.has_places:
            rows["position_embeddings"] = self.tokens
        self.channels = channels
        self.table = {
            name: self.add_weight(name, (1, count, channels), initializer=initializer())
            for name, count in rows.items()
        }
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        total = tf.zeros((1, self.tokens, self.channels))
        if self.has_places:
            total = tf.identity(self.table["position_embeddings"])
        # Products and sums alone: of constants of this size the converter folds no PAD or CONCAT.
        rows = [(name, row) for name, count in self.leading for row in range(count)]
        for index, (name, row) in enumerate(rows):
            place = tf.one_hot(index, self.tokens)[tf.newaxis, :, tf.newaxis]  # (1, S, 1)
            total = total + place * self.table[name][:, row : row + 1]
        return total


class PlaceBias(Table):
    """A number of each head, query and key, which is added to scores, (1, H, S, S).

    Whatever fewer numbers these are made of: no graph looks them up again.

    Args:
        sizes: heads and tokens.
        factor: what all are multiplied by.
        perm: the order of the axes of the result.
    """

    def __init__(
        self, sizes: tuple[int, int], factor: float, perm: Sequence[int], **kwargs: Any
    ) -> None:
        heads, tokens = sizes
        super().__init__(heads * tokens, tokens, **kwargs)
        self.heads, self.factor, self.perm = heads, factor, perm

    def call(self, hidden: tf.Tensor) -> tf.Tensor:
        bias = tf.reshape(self.embeddings, (1, self.heads, self.channels, self.channels))
        return tf.transpose(bias if self.factor == 1 else self.factor * bias, self.perm)


def window_bias(blocks: Blocks, name: str, bias: Symbolic, mask: Symbolic, reach: int) -> Symbolic:
    """`bias` of `Blocks.attention_bias`, and what keeps a query from keys more than `reach` tokens
    away: (B, 1, S, S), or `bias` where no text is so long."""
    length = mask.shape[1]
    if length is not None and length <= reach + 1:
        return bias
    options = {"mask_value": blocks.options.mask_value, "perm": blocks.score_axes}
    far = op(f"{name}.far", far_bias, reach=reach, **options)(mask)
    return blocks.add(name, bias, blocks.tap(f"{name}.far", far, MASK), kind=MASK)


def rotation(
    attention_mask: tf.Tensor, base: float, heads: int, size: int, is_sine: bool
) -> tf.Tensor:
    """The cosines, or sines, of what each position is turned by, (1, S, heads * size).

    In float32, as transformers computes them. The sines come with the signs of a rotation: what the
    first half of a head's channels is added to is the second one times minus the sine.
    """
    if attention_mask.shape[1] is None:
        return _turns(tf.shape(attention_mask)[1], base, heads, size, is_sine)
    # Of a long text it is larger than what the converter computes beforehand.
    with tf.init_scope():
        constant = _turns(attention_mask.shape[1], base, heads, size, is_sine).numpy()
    return tf.constant(constant)


def _turns(length: int | tf.Tensor, base: float, heads: int, size: int, is_sine: bool) -> tf.Tensor:
    frequencies = 1 / base ** (tf.range(0, size, 2, tf.float32) / size)
    angles = tf.range(length, dtype=tf.float32)[:, tf.newaxis] * frequencies  # (S, size / 2)
    part = tf.sin(angles) if is_sine else tf.cos(angles)
    head = tf.concat((-part if is_sine else part, part), axis=1)
    return tf.tile(head, (1, heads))[tf.newaxis]


def patch_rotation(hidden: tf.Tensor, is_sine: bool, heads: int, **numbers: Any) -> tf.Tensor:
    """As `rotation`, of `patch_angles`."""
    del hidden  # a constant for any
    angles = patch_angles(**numbers)
    half = np.split(np.sin(angles) if is_sine else np.cos(angles), 2, axis=1)[0]
    head = np.concatenate((-half if is_sine else half, half), axis=1)
    return tf.constant(np.tile(head, (1, heads))[np.newaxis], tf.float32)


def patch_angles(size: int, grid: tuple[int, int], first: int, base: float) -> np.ndarray:
    """What the pairs of a head's channels are turned by at each token, float32 (S, size): 0 before the
    patches, whose middles lie from -1 to 1 down and across."""
    sides = [
        (np.arange(0.5, count, dtype=np.float32) / np.float32(count)) * 2 - 1 for count in grid
    ]
    places = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    frequencies = 1 / np.float32(base) ** np.arange(0, 1, 4 / size, dtype=np.float32)
    angles = (
        np.float32(2 * np.pi) * places[:, :, np.newaxis] * frequencies
    )  # (patches, 2, size / 4)
    angles = np.tile(angles.reshape(len(places), -1), 2)
    return np.concatenate([np.zeros((first, size), np.float32), angles])


def rotation_of_table(
    attention_mask: tf.Tensor, positions: int, size: int, heads: int, is_sine: bool
) -> tf.Tensor:
    """As `rotation`, of `tfedge.architectures.roformer.sinusoids`."""
    sines, cosines = np.split(sinusoids(positions, size), 2, axis=1)
    head = np.concatenate((-sines, sines) if is_sine else (cosines, cosines), axis=1)
    whole = np.tile(head, (1, heads))[np.newaxis]
    if (length := attention_mask.shape[1]) is not None:
        return tf.constant(whole[:, :length])
    return tf.constant(whole)[:, : tf.shape(attention_mask)[1]]


def swapped_halves(x: tf.Tensor, size: int) -> tf.Tensor:
    """(B, S, ..., C) with the halves of every `size` channels swapped."""
    length = x.shape[1] or tf.shape(x)[1]
    halves = tf.reshape(x, (-1, 2, size // 2))
    swapped = tf.concat((halves[:, 1:], halves[:, :1]), axis=1)
    return tf.reshape(swapped, (-1, length, *x.shape[2:]))


def far_bias(
    attention_mask: tf.Tensor, reach: int, mask_value: float, perm: Sequence[int]
) -> tf.Tensor:
    """`mask_value` where a key is more than `reach` tokens from the query, else 0, (1, 1, S, S) with
    its axes in the order of `perm`."""
    position = tf.range(attention_mask.shape[1] or tf.shape(attention_mask)[1])
    distance = tf.abs(position[:, tf.newaxis] - position[tf.newaxis, :])
    bias = tf.where(distance > reach, mask_value, 0.0)
    return tf.transpose(bias[tf.newaxis, tf.newaxis], perm)
