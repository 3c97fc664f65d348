"""MPNet (Song et al. 2020, arXiv:2004.09297): RoBERTa's form, with a bias a head on how far tokens lie
apart that all layers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfedge.architectures.base import register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Parts
from tfedge.architectures.roberta import Roberta

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic

# As transformers has it, whatever config.json says.
_BUCKETS, _FARTHEST = 32, 128
_TABLE = "encoder.relative_attention_bias"


@register
class MPNet(Roberta):
    """MPNet, of which transformers reads no other number of buckets than 32."""

    model_type = "mpnet"
    class_name = "MPNet"
    parts = Parts(
        attention="attention.attn",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention_output="attention.attn.o",
        attention_total="attention.sum",
        attention_norm="attention.LayerNorm",
    )
    has_token_types = False
    head_tables = (_TABLE,)
    adds_places = True

    def read(self, fields: Fields) -> dict[str, Any]:
        fields.unsupported("relative_attention_num_buckets", (_BUCKETS, None))
        return super().read(fields)

    def relative_bias(self, blocks: Blocks, attention_mask: Symbolic) -> Symbolic:
        return blocks.relative_bias(_TABLE, _BUCKETS, _FARTHEST, attention_mask)
