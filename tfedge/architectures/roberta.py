"""RoBERTa (Liu et al. 2019, arXiv:1907.11692): BERT with byte-level BPE, one type of tokens, positions
that begin behind the padding's, and a classifier in place of the pooler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfedge.architectures.base import register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import WordHead
from tfedge.architectures.postnorm import PostNorm

if TYPE_CHECKING:
    from tfedge.architectures.base import EncoderConfig
    from tfedge.models.blocks import Blocks, Symbolic


@register
class Roberta(PostNorm):
    """RoBERTa, with padding at the end only: there transformers counts the same positions."""

    model_type = "roberta"
    class_name = "Roberta"
    word_head = WordHead(
        "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head", activation="gelu"
    )
    summary_modules = ("classifier.dense",)
    counts_summary = True

    def read(self, fields: Fields) -> dict[str, Any]:
        values = super().read(fields)
        rows = values["max_position_embeddings"]
        # Positions are numbered from the padding token's id on, whose own row no real token reads.
        first = fields.size("pad_token_id", 1, largest=rows - 2) + 1
        return {
            **values,
            "max_position_embeddings": rows - first,
            "first_position": first,
            "classifiers": ("classifier.out_proj",),
        }

    def padding_id(self, config: EncoderConfig) -> int:
        """See `Architecture`: it has no position of its own, by which all behind it move."""
        return config.first_position - 1

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `PostNorm`; some is dropped before the dense layer too."""
        return super().summary(blocks, blocks.dropout("classifier", hidden))
