"""The graph as trained without what a board need not compute.

For modes that leave activations in floating point or give them 16 bits: those need neither the
equalisation nor the ranges of `tfedge.quantize.prepare`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tf_keras as keras

from tfedge import tasks
from tfedge.architectures.kinds import Scores, Seen
from tfedge.models.blocks import FLOAT_MASK_VALUE, Blocks, Symbolic
from tfedge.models.build import MakeBlocks
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.layers import ApartLayerNorm
from tfedge.progress import Progress, unheard
from tfedge.quantize import layers
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.equalize import scale_queries
from tfedge.quantize.layers import op
from tfedge.quantize.prepare import Shape, float_graphs

# A score this far below all others has a probability of e^-16, less than a hundredth of a step of
# 2^-15.
_MASK_DEPTH = 16.0


class LeanBlocks(Blocks):
    """Blocks whose queries have the scale of the scores in their weights."""

    def _scaled(self, name: str, query: Symbolic) -> Symbolic:
        return query


class RoundedBlocks(LeanBlocks):
    """Blocks for dense layers that round what they read, each token in one scale."""

    layer_norm = ApartLayerNorm


class WideBlocks(LeanBlocks):
    """Blocks of what TFLite can compute with 16-bit activations.

    Its converter refuses CAST and DIV of them, so the inverse of the number of tokens comes out of
    a table, and whoever reads an embedding brings it to length 1, as for int8.
    """

    def mean_pooling(self, hidden: Symbolic, attention_mask: Symbolic) -> Symbolic:
        longest = self.config.max_position_embeddings
        count = op("pooling.weights", layers.inverse_count, max_length=longest)
        expanded = op("pooling.hidden", layers.expand)(hidden)
        total = op("pooling", layers.weighted_sum)
        with self.site("pooling", "pooling"):
            return self.tap("pooling", total([count(attention_mask), expanded]))

    def normalized(self, x: Symbolic) -> Symbolic:
        return x


def lean_graphs(
    checkpoint: Checkpoint, shape: Shape, make_blocks: MakeBlocks = LeanBlocks
) -> dict[int, keras.Model]:
    """The static graphs in float, by length; equal to `float_graphs`, and faster. Raises
    CheckpointError where the weights do not fit."""
    return _graphs(checkpoint, shape, make_blocks, FLOAT_MASK_VALUE)


def wide_graphs(
    checkpoint: Checkpoint,
    shape: Shape,
    samples: Sequence[np.ndarray],
    progress: Progress = unheard,
) -> dict[int, keras.Model]:
    """The static graphs for 16-bit activations, in float, by length.

    The value that masks a score is no lower than it has to be: with -10,000 in the range of the
    scores, 16 bits would leave them steps of a third. Raises CheckpointError where the weights do
    not fit.

    Args:
        samples: what calibrates, as `Observer` takes it, which says how far scores lie apart.
    """
    config = checkpoint.config
    encoder = shape.build(config, shape.options(), WideBlocks)
    load_weights(encoder.model, checkpoint, shape.task)
    scale_queries(encoder.model, encoder.kinds, config.query_scale)
    seen = Seen()
    for tensors in Observer(encoder, samples, progress).tensors():
        for name, value in tensors.items():
            if isinstance(encoder.kinds[name], Scores):
                seen.add(value)
    return _graphs(checkpoint, shape, WideBlocks, seen.low - seen.high - _MASK_DEPTH)


def _graphs(
    checkpoint: Checkpoint, shape: Shape, make_blocks: MakeBlocks, mask_value: float
) -> dict[int, keras.Model]:
    config = checkpoint.config
    return float_graphs(
        checkpoint,
        shape,
        make_blocks,
        config.query_scale,
        prune_last_layer=tasks.find(shape.task).reads_first_token_only(config),
        mask_value=mask_value,
    )
