"""The graphs of integer operations that an encoder can be made into, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tfedge.quantize.edgetpu import EdgeTpuBlocks, PlainEdgeTpuBlocks
from tfedge.quantize.integer import IntegerBlocks
from tfedge.quantize.rounding import (
    RoundedBlocks,
    RoundedEdgeTpuBlocks,
    RoundedPlainEdgeTpuBlocks,
)
from tfedge.targets import INTEGER as INTEGER


@dataclasses.dataclass(frozen=True)
class Graph:
    """What a graph is built of.

    Attributes:
        blocks: to be converted.
        rounded: with the rounding of constants in it, to be trained.
        float_operators: what is left in float, as `tfedge.inspect.contents` names it: the
            conversion of inputs.
    """

    blocks: type[IntegerBlocks]
    rounded: type[IntegerBlocks]
    float_operators: frozenset[str] = frozenset()


_CASTS = frozenset({"CAST FLOAT32"})

GRAPHS: Mapping[str, Graph] = {
    INTEGER: Graph(IntegerBlocks, RoundedBlocks),
    "edgetpu": Graph(EdgeTpuBlocks, RoundedEdgeTpuBlocks, _CASTS),
    "edgetpu-plain": Graph(PlainEdgeTpuBlocks, RoundedPlainEdgeTpuBlocks, _CASTS),
}
