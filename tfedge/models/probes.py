"""Attention of one learned query, which is the same for any input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tf_keras as keras

from tfedge.architectures.kinds import VALUE, Probabilities, Unclipped
from tfedge.architectures.parts import Probe
from tfedge.models.layers import op, split_heads

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic


def probed(blocks: Blocks, names: Probe, heads: int, hidden: Symbolic) -> Symbolic:
    """What the query reads of the tokens (B, S, C), as `Blocks.token` gives one: (B, C).

    Its product with the keys x K of a head is x (K q), a dense layer of one number for each head: keys
    need not be made (Lee et al. 2019, arXiv:1810.00825, section 3.2, has such an attention).
    """
    scores = blocks.dense(names.scores, heads, hidden, Unclipped())
    value = blocks.dense(names.value, int(hidden.shape[-1]), hidden, VALUE)
    name = names.attention
    with blocks.site(name, "attention"):
        turned = op(f"{name}.turned", split_heads, count=heads, keys=True)
        softmax = keras.layers.Softmax(name=f"{name}.probabilities")
        shares = softmax(turned(blocks.operand(scores)))  # (B, H, 1, S)
        shares = blocks.tap(f"{name}.probabilities", shares, Probabilities(name))
        context = blocks.merge_heads(f"{name}.context", blocks.weighted(name, shares, value))
    return blocks.token(context)
