"""Puts constant factors into the weights around an attention's scores and a GELU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import tf_keras as keras

from tfedge.architectures.kinds import GATE, QUERY, Kind
from tfedge.models.build import Encoder
from tfedge.quantize.integer import IntegerBlocks
from tfedge.quantize.rewrite import Rewrite

if TYPE_CHECKING:
    from tfedge.quantize.prepare import Lowering


def scale_queries(model: keras.Model, kinds: Mapping[str, Kind], factor: float) -> None:
    """Makes all queries larger by `factor`."""
    for name in (name for name, kind in kinds.items() if kind is QUERY):
        _scale(model.get_layer(name), factor)


def _scale(layer: keras.layers.Dense, factor: float) -> None:
    for variable in (layer.kernel, layer.bias):
        variable.assign(variable * factor)


class Scales(Rewrite):
    """The queries hold 1 / the root of the head's size, and what else the blocks say."""

    def apply(self, lowering: Lowering, encoder: Encoder, blocks: type[IntegerBlocks]) -> None:
        factor = lowering.config.head_size**-0.5 * blocks.query_factor
        scale_queries(encoder.model, encoder.kinds, factor)
        _scale_gates(lowering, encoder.model, encoder.kinds, blocks.gate_factor)

    def undo(self, lowering: Lowering, plain: keras.Model, model: keras.Model) -> None:
        kinds, blocks = lowering.dynamic.kinds, lowering.blocks
        scale_queries(plain, kinds, lowering.config.head_size**0.5 / blocks.query_factor)
        _scale_gates(lowering, plain, kinds, 1 / blocks.gate_factor)


def _scale_gates(
    lowering: Lowering, model: keras.Model, kinds: Mapping[str, Kind], factor: float
) -> None:
    """Makes what a GELU reads and gives larger by `factor`, the same for what comes after."""
    for stream in lowering.streams:
        if [kinds.get(reader) for reader in stream.readers] == [GATE]:
            before, after = (model.get_layer(name) for name in (*stream.readers, stream.dense))
            _scale(before, factor)
            after.kernel.assign(after.kernel / factor)
