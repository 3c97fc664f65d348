"""GTE (Zhang et al. 2024, arXiv:2407.19669): BERT with rotary positions and gates, as transformers has
gte-multilingual-base."""

from __future__ import annotations

from tfedge.architectures.base import EncoderConfig, register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Parts, WordHead
from tfedge.architectures.rotated import Rotated


@register
class Gte(Rotated):
    """GTE, by the names of its checkpoints, which transformers keeps."""

    model_type = "gte"
    class_name = "Gte"
    usual_base = 160_000.0
    parts = Parts(
        attention="attention",
        query="attention.qkv_proj.query",
        key="attention.qkv_proj.key",
        value="attention.qkv_proj.value",
        attention_output="attention.o_proj",
        attention_total="attention.sum",
        attention_norm="attn_ln",
        ffn_input="mlp.up_gate_proj.gate",
        ffn_gate="mlp.up_gate_proj.up",
        ffn_output="mlp.down_proj",
        ffn_total="mlp.sum",
        ffn_norm="mlp_ln",
    )
    word_head = WordHead(
        "lm_head.dense", "lm_head.norm", "lm_head.decoder", "lm_head.decoder", activation="gelu"
    )
    summary_modules = ("pooler.dense",)
    lacks_spans = True

    def types(self, fields: Fields) -> int:
        """See `PostNorm`; gte-base-en-v1.5 has none."""
        return fields.size("type_vocab_size", least=0)

    def has_bias(self, config: EncoderConfig, module: str) -> bool:
        return "up_gate_proj" not in module
