"""ELECTRA (Clark et al. 2020, arXiv:2003.10555): BERT whose tables may be narrower than its hidden
states, and a classifier with GELU in place of the pooler."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from tfedge.architectures.base import EncoderConfig, register
from tfedge.architectures.fields import Fields, refuse_matrix
from tfedge.architectures.parts import WordHead
from tfedge.architectures.postnorm import PostNorm

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElectraConfig(EncoderConfig):
    """BERT's sizes and the width of the tables."""

    embedding_size: int  # 0 where it is `hidden_size`, so that it stays so where that is cut


def _own(config: EncoderConfig) -> ElectraConfig:
    return cast(ElectraConfig, config)


@register
class Electra(PostNorm):
    """ELECTRA's discriminator, or its generator, which has the same form."""

    model_type = "electra"
    class_name = "Electra"
    word_head: WordHead | None = WordHead(
        "generator_predictions.dense",
        "generator_predictions.LayerNorm",
        "generator_lm_head",
        "generator_lm_head",
        activation="gelu",
    )
    config_class = ElectraConfig
    summary_modules = ("classifier.dense",)
    pretraining_heads: tuple[str, ...] = (
        "discriminator_predictions",
        "generator_predictions",
        "generator_lm_head",
    )
    pretraining_modules: tuple[str, ...] = pretraining_heads

    def read(self, fields: Fields) -> dict[str, Any]:
        values = super().read(fields)
        words, hidden = self.words_width(fields), values["hidden_size"]
        refuse_matrix(words, values["vocab_size"], values["max_position_embeddings"], hidden)
        return {
            **values,
            "embedding_size": 0 if words == hidden else words,
            "classifiers": ("classifier.out_proj",),
        }

    def words_width(self, fields: Fields) -> int:
        """The channels of the tables, as config.json says."""
        return fields.size("embedding_size", 128)

    def resized(
        self, config: EncoderConfig, sizes: Mapping[str, int], differing: Mapping[str, Any]
    ) -> EncoderConfig:
        if "hidden_size" in sizes and not _own(config).embedding_size:
            sizes = {**sizes, "embedding_size": sizes["hidden_size"]}
        return super().resized(config, sizes, differing)

    def kept_sizes(self) -> tuple[str, ...]:
        return (*super().kept_sizes(), "embedding_size")

    def allows_width(self, config: EncoderConfig, width: int) -> bool:
        """See `Architecture`: of the tables' own width transformers builds no dense layer behind
        them."""
        return width != _own(config).embedding_size

    def table_width(self, config: EncoderConfig) -> int:
        return _own(config).embedding_size or config.hidden_size

    def projection(self, config: EncoderConfig) -> str | None:
        """See `PostNorm`; transformers has it where the two have different widths."""
        return "embeddings_project" if _own(config).embedding_size else None

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: a dense layer with GELU, whatever `hidden_act` is, on [CLS]."""
        first = blocks.dropout("classifier", blocks.token(hidden))
        (name,) = self.summary_modules
        pooled = blocks.activated_dense(name, "gelu", blocks.config.hidden_size, first)
        return [blocks.dropout("pooler", pooled)]
