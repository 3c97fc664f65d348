"""Attention in the shapes that kernels of integers are fast for.

Counted on emulated boards in LiteRT 2.3, for 12 heads of 26 channels (`tests/arm/count.py`):

- a softmax takes 16 numbers of a row at a time and the rest one by one: for 28 queries and keys 373
  thousand instructions, for 28 queries and 32 keys 153;
- the right operand of a product is laid out anew for each run, faster if its rows are what is summed
  over: shares times values of 28 tokens take 113 thousand instructions, with values transposed 83.
"""

from __future__ import annotations

import tensorflow as tf

from tfedge.architectures.parts import Biases
from tfedge.models import layers as plain
from tfedge.models.blocks import Blocks, Symbolic
from tfedge.quantize.layers import op

_BLOCK = 16


class FilledAttention(Blocks):
    """Blocks whose attentions have a multiple of 16 keys, where a mask hides those that are none."""

    def attention_bias(self, attention_mask: Symbolic) -> Symbolic:
        """As everywhere, for keys that are filled up: (B, S) -> (B, 1, 1, keys)."""
        length = attention_mask.shape[1]
        if length is None or self.config.architecture.adds_places or length % _BLOCK == 0:
            return super().attention_bias(attention_mask)
        fill = op("attention_mask.filled", filled, length=length + -length % _BLOCK)
        return super().attention_bias(fill(attention_mask))

    def attention(
        self, name: str, query: Symbolic, key: Symbolic, value: Symbolic, biases: Biases
    ) -> Symbolic:
        """As everywhere, with as many keys and values as the mask has places."""
        count = None if biases.mask is None else biases.mask.shape[-1]
        if count is not None and count != key.shape[1]:
            with self._within(name):
                key, value = (
                    self._filled(f"{name}.{part}.filled", x, count)
                    for part, x in (("key", key), ("value", value))
                )
        return super().attention(name, query, key, value, biases)

    def _filled(self, name: str, x: Symbolic, count: int) -> Symbolic:
        return op(name, filled, length=count)(self.operand(x))

    def weighted(self, name: str, shares: Symbolic, value: Symbolic) -> Symbolic:
        count = int(value.shape[-1]) // self.config.head_size
        split = op(f"{name}.value.heads", plain.split_heads, count=count, keys=True)
        values = split(self.operand(value))  # (B, H, D, S)
        product = op(f"{name}.context.heads", turned_matmul)
        return self.tap(product.name, product([shares, values]))


def filled(x: tf.Tensor, length: int) -> tf.Tensor:
    """(B, S, ...) -> (B, length, ...), zeros behind what there is."""
    return tf.pad(x, ((0, 0), (0, length - x.shape[1]), *((0, 0),) * (len(x.shape) - 2)))


def turned_matmul(operands: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """The product of two activations, the second transposed, over their last two axes."""
    return tf.matmul(*operands, transpose_b=True)
