"""Jina embeddings v3 (Sturua et al. 2024, arXiv:2409.10173): XLM-RoBERTa with rotary positions, as
transformers has it, without the adapters of its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfedge.architectures.base import register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Embeddings, Parts, WordHead
from tfedge.architectures.rotated import Rotated

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic


@register
class JinaEmbeddingsV3(Rotated):
    """Jina embeddings v3, by the names of its checkpoints, which transformers keeps."""

    model_type = "jina_embeddings_v3"
    class_name = "JinaEmbeddingsV3"
    usual_base = 20_000.0
    is_gated = False
    embeddings = Embeddings(norm="emb_ln")
    parts = Parts(
        prefix="encoder.layers",
        attention="mixer",
        query="mixer.Wqkv.query",
        key="mixer.Wqkv.key",
        value="mixer.Wqkv.value",
        attention_output="mixer.out_proj",
        attention_total="mixer.sum",
        attention_norm="norm1",
        ffn_input="mlp.fc1",
        ffn_output="mlp.fc2",
        ffn_total="mlp.sum",
        ffn_norm="norm2",
    )
    word_head = WordHead(
        "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head", activation="gelu"
    )
    summary_modules = ("classifier.dense",)

    @property
    def prefix(self) -> str:
        return "roberta."

    def read(self, fields: Fields) -> dict[str, Any]:
        return {**super().read(fields), "classifiers": ("classifier.out_proj",)}

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `PostNorm`; some is dropped before the dense layer too."""
        return super().summary(blocks, blocks.dropout("classifier", hidden))
