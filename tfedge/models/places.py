"""What attention knows of places: rotary positions, and windows that local layers see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfedge.architectures.kinds import COSINES, FREE, MASK, Kind, Like
from tfedge.architectures.parts import Rotary
from tfedge.architectures.roformer import sinusoids
from tfedge.models.layers import first, op

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
