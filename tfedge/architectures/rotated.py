"""What encoders share that are BERTs with rotary positions, and most of them with gates."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, cast

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.fields import Fields, check_pairs
from tfedge.architectures.parts import Biases, Parts, Stream
from tfedge.architectures.postnorm import PostNorm

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic

# The parts of tensors that hold several dense layers.
_SHARED = re.compile(r"\.(\w+)\.(query|key|value|up|gate)\.")
_PLACES = {"query": (0, 3), "key": (1, 3), "value": (2, 3), "up": (0, 2), "gate": (1, 2)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RotatedConfig(EncoderConfig):
    """What is said of positions beside the sizes."""

    base: float  # what the angles of rotary positions are powers of


class Rotated(PostNorm):
    """An encoder that normalises as BERT does, and turns queries and keys by their positions, the first
    half of a head's channels against the second, as transformers has it of Llama."""

    config_class = RotatedConfig
    has_positions = False
    position_types = ("absolute", "rope", "rotary", None)
    can_be_cut = False
    whole_because = "positions turn the channels of its heads in pairs, which no cut keeps"
    is_gated = True  # whether activations are multiplied by another dense layer
    usual_base: float  # of a config.json that names none

    def read(self, fields: Fields) -> dict[str, Any]:
        values = {**super().read(fields), "base": fields.rotary_base(self.usual_base)}
        own = fields.optional_size("head_dim")
        check_pairs(own or values["hidden_size"] // values["num_attention_heads"])
        return values | ({"head_size": own} if own else {})

    def biases(self, blocks: Blocks, bias: Symbolic, attention_mask: Symbolic) -> Biases:
        base = cast(RotatedConfig, blocks.config).base
        return Biases(bias, rotary=blocks.rotary("rotary", base, attention_mask))

    def neurons(self, blocks: Blocks, names: Parts, units: int, x: Symbolic) -> Symbolic:
        """See `PostNorm`: times what the gate's other side is."""
        if not self.is_gated:
            return super().neurons(blocks, names, units, x)
        gated = blocks.gated_dense(names, blocks.config.hidden_act, units, x)
        return blocks.dropout(names.product, gated)

    def ffn_readers(self, names: Parts) -> tuple[str, ...]:
        return (names.ffn_input, names.ffn_gate) if self.is_gated else (names.ffn_input,)

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: those of `PostNorm`, and the gates."""
        parts = map(self.parts.of_layer, range(config.num_hidden_layers if self.is_gated else 0))
        gates = [
            Stream(
                names.ffn_gate,
                (names.ffn_gate,),
                products=(names.product,),
                readers=(names.ffn_output,),
            )
            for names in parts
        ]
        return [*super().streams(config), *gates]

    # The checkpoint.

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        """See `Architecture`: queries, keys and values are one tensor, and both sides of a gate may
        be."""
        return _SHARED.sub(r".\1.", name)

    def part_of_tensor(self, config: EncoderConfig, name: str) -> tuple[int, int]:
        found = _SHARED.search(name)
        return _PLACES[found[2]] if found else (0, 1)
