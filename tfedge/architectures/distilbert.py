"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108): BERT without token types and pooler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tfedge.architectures.base import register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Parts, WordHead
from tfedge.architectures.postnorm import PostNorm

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic


@register
class DistilBert(PostNorm):
    """DistilBERT, whose config.json has other names for the same sizes."""

    model_type = "distilbert"
    class_name = "DistilBert"
    word_head = WordHead(
        "vocab_transform", "vocab_layer_norm", "vocab_projector", "vocab_projector"
    )
    keys: ClassVar[Mapping[str, str]] = {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    }
    parts = Parts(
        prefix="transformer.layer",
        attention="attention",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        attention_total="attention.sum",
        attention_norm="sa_layer_norm",
        ffn_input="ffn.lin1",
        ffn_output="ffn.lin2",
        ffn_total="ffn.sum",
        ffn_norm="output_layer_norm",
    )
    summary_modules = ("pre_classifier",)
    has_token_types = False
    drops_attention = False

    def read(self, fields: Fields) -> dict[str, Any]:
        """See `Architecture`; transformers has no key for the epsilon."""
        return {**super().read(fields), "layer_norm_eps": 1e-12}

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: a dense layer with ReLU on [CLS]."""
        first, width = blocks.token(hidden), blocks.config.hidden_size
        (name,) = self.summary_modules
        return [blocks.dropout("pooler", blocks.activated_dense(name, "relu", width, first))]
