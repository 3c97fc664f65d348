"""RoBERTa (Liu et al. 2019, arXiv:1907.11692): BERT with byte-level BPE, one type of tokens, positions
that begin behind the padding's, and a classifier in place of the pooler."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.bert import BERT_PARTS
from tfedge.architectures.fields import Fields
from tfedge.architectures.postnorm import PostNorm
from tfedge.architectures.registry import register

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobertaConfig(EncoderConfig):
    """RoBERTa's sizes.

    Attributes:
        first_position: the row of the position table of the first token. transformers numbers positions
            from the padding token's id on, whose own row no real token reads.
    """

    first_position: int


class Roberta(PostNorm):
    """RoBERTa, with padding at the end only: there transformers counts the same positions."""

    model_type = "roberta"
    class_name = "Roberta"
    config_class = RobertaConfig
    parts = BERT_PARTS
    summary_modules = ("classifier.dense",)
    counts_summary = True

    def read(self, fields: Fields) -> dict[str, Any]:
        values = super().read(fields)
        rows = values["max_position_embeddings"]
        first = fields.size("pad_token_id", 1, largest=rows - 2) + 1
        return {
            **values,
            "max_position_embeddings": rows - first,
            "first_position": first,
            "classifiers": ("classifier.out_proj",),
        }

    def first_position(self, config: EncoderConfig) -> int:
        return cast(RobertaConfig, config).first_position

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `PostNorm`; some is dropped before the dense layer too."""
        return super().summary(blocks, blocks.dropout("classifier", hidden))


register(Roberta())
