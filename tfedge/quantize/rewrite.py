"""What a change of the graph that a model's weights ask for consists of; `record` lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import tf_keras as keras

from tfedge.models.build import Encoder
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.integer import IntegerBlocks

if TYPE_CHECKING:
    from tfedge.quantize.prepare import Lowering

# By the name of a layer, or of what else is decided about.
Decision = Mapping[str, Any]
LARGEST_NUMBER = 1e30  # of a file; what float32 can still be scaled by


class Rewrite:
    """One change of the graph, for any architecture; of itself it changes nothing.

    Attributes:
        key: of what it decides, among the decisions beside a checkpoint; None if it decides nothing.
        value: type of one value of the decision, for pydantic to read from JSON and to write.
        passes: over the samples, that deciding takes at most.
        blocks: what it changes in how blocks are built; they find what was decided in `decisions`.
    """

    key: ClassVar[str | None] = None
    value: ClassVar[Any] = Any
    passes: ClassVar[int] = 0
    blocks: ClassVar[type[IntegerBlocks] | None] = None

    def decide(self, lowering: Lowering, observe: Callable[[Encoder], Observer]) -> Decision:
        """What to do, from the weights and what the samples show; may change `lowering.weights`.

        Args:
            lowering: what earlier rewrites have decided is in what it builds.
            observe: runs the samples through an encoder for any batch and length.
        """
        del lowering, observe
        return {}

    def apply(self, lowering: Lowering, encoder: Encoder, blocks: type[IntegerBlocks]) -> None:
        """Changes the weights of a graph of `blocks`, which are those of the plain graph."""

    def undo(self, lowering: Lowering, plain: keras.Model, model: keras.Model) -> None:
        """Changes the weights of a plain graph, copied from `model`, back; the last one first."""

    def misfits(self, lowering: Lowering, decision: Decision) -> set[str]:
        """Names that a decision from a file lacks or has too many, or that have another size."""
        del lowering, decision
        return set()
