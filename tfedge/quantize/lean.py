"""The graph as trained without what a board need not compute.

For modes that leave activations in floating point or give them 16 bits: those need neither the
equalisation nor the ranges of `tfedge.quantize.prepare`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tf_keras as keras

from tfedge import tasks
from tfedge.architectures.kinds import Scores
from tfedge.models.blocks import FLOAT_MASK_VALUE, Blocks, Symbolic
from tfedge.models.build import Encoder, MakeBlocks
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.quantize import layers
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.prepare import Shape
from tfedge.quantize.scale import scale_queries

# A score this far below all others has a probability of e^-16, less than a hundredth of a step of
# 2^-15.
_MASK_DEPTH = 16.0


class LeanBlocks(Blocks):
    """Blocks whose queries have the scale of the scores in their weights (`_load`)."""

    def _scaled(self, name: str, query: Symbolic) -> Symbolic:
        del name
        return query


class WideBlocks(LeanBlocks):
    """Blocks of what TFLite can compute with 16-bit activations.

    Its converter refuses CAST and DIV of them, so the inverse of the number of tokens comes out of
    a table, and whoever reads an embedding brings it to length 1, as for int8.
    """

    def mean_pooling(self, hidden: Symbolic, attention_mask: Symbolic) -> Symbolic:
        count = layers.InverseCount(self.config.max_position_embeddings, name="pooling.weights")
        expanded = layers.Expand(name="pooling.hidden")(hidden)
        total = layers.WeightedSum(name="pooling")
        with self.site("pooling", "pooling"):
            return self.tap("pooling", total([count(attention_mask), expanded]))

    def normalized(self, x: Symbolic) -> Symbolic:
        return x


def lean_graphs(checkpoint: Checkpoint, shape: Shape) -> dict[int, keras.Model]:
    """The static graphs in float, by length; equal to `float_graphs`, and faster.

    Raises:
        CheckpointError: the weights do not fit.
    """
    return _static_graphs(checkpoint, shape, LeanBlocks, FLOAT_MASK_VALUE)


def wide_graphs(
    checkpoint: Checkpoint,
    shape: Shape,
    samples: Sequence[np.ndarray],
    progress: Callable[[int], None] = lambda count: None,
) -> dict[int, keras.Model]:
    """The static graphs for 16-bit activations, in float, by length.

    The value that masks a score is no lower than it has to be: with -10,000 in the range of the
    scores, 16 bits would leave them steps of a third.

    Args:
        samples: what calibrates, as `Observer` takes it, which says how far scores lie apart.
        progress: called with a number of samples whenever as many have run, once for each.

    Raises:
        CheckpointError: the weights do not fit.
    """
    encoder = shape.build(checkpoint.config, shape.options(), WideBlocks)
    _load(checkpoint, shape, encoder)
    low, high = np.inf, -np.inf
    for tensors in Observer(encoder, samples, progress).tensors():
        scores = [
            value for name, value in tensors.items() if isinstance(encoder.kinds[name], Scores)
        ]
        low = min(low, *(float(value.min()) for value in scores))
        high = max(high, *(float(value.max()) for value in scores))
    return _static_graphs(checkpoint, shape, WideBlocks, low - high - _MASK_DEPTH)


def _static_graphs(
    checkpoint: Checkpoint, shape: Shape, make_blocks: MakeBlocks, mask_value: float
) -> dict[int, keras.Model]:
    prune = tasks.find(shape.task).reads_first_token_only(checkpoint.config)
    graphs: dict[int, keras.Model] = {}
    for length in shape.lengths:
        options = shape.options(length, prune_last_layer=prune, mask_value=mask_value)
        encoder = shape.build(checkpoint.config, options, make_blocks)
        if length == shape.sequence_length:
            _load(checkpoint, shape, encoder)
        else:
            encoder.model.set_weights(graphs[shape.sequence_length].get_weights())
        graphs[length] = encoder.model
    return graphs


def _load(checkpoint: Checkpoint, shape: Shape, encoder: Encoder) -> None:
    """Puts the weights in, 1/sqrt(head size) into those of the queries."""
    load_weights(encoder.model, checkpoint, shape.task)
    scale_queries(encoder.model, encoder.kinds, checkpoint.config.head_size**-0.5)
