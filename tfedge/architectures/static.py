"""Static embeddings: a table of tokens, whose mean is the embedding of a text, and nothing else.

Model2Vec (Tulkens and van Dongen 2024, github.com/MinishLab/model2vec) and StaticEmbedding of
sentence-transformers differ in the names of the table and in unknown tokens. What their folders say is
read by `tfedge.models.static`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from tfedge.architectures.base import Architecture, EncoderConfig, Input, Made, register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Stream
from tfedge.errors import CheckpointError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_FEWEST_TOKENS = 3  # of a graph; texts may have fewer
# `StaticModel.encode` cuts a text there.
_MOST_TOKENS = 512
_WORDS = "embeddings.word_embeddings"
_UNKNOWN = "unk_token_id"
# Beside the table, of a quantised vocabulary.
_MAPPING, _WEIGHTS = "mapping", "weights"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StaticConfig(EncoderConfig):
    """What is said of a table beside its sizes."""

    unknown_id: int | None  # the token that is left out of the mean, if any is


@register
class Model2Vec(Architecture):
    """Model2Vec's own folders: the table is `embeddings`; of a quantised vocabulary `mapping` has the
    row of each token, and `weights` what it is multiplied by. Unknown tokens do not count."""

    model_type = "model2vec"
    class_name = "Static"
    config_class = StaticConfig
    keys: ClassVar[Mapping[str, str]] = {"hidden_size": "hidden_dim"}
    table = "embeddings"
    whole_because = "it has no layers"
    only_task = "sentence-embedding"
    frames_texts = False
    encoder_modules = ()
    pretraining_modules = ()

    def read(self, fields: Fields) -> dict[str, Any]:
        width = fields.size("hidden_size")
        return {
            "vocab_size": fields.size("vocab_size"),
            "hidden_size": width,
            "num_hidden_layers": 0,
            "num_attention_heads": 1,
            "head_size": width,
            "intermediate_size": 1,
            "max_position_embeddings": _MOST_TOKENS,
            "unknown_id": fields.optional_number(_UNKNOWN),
        }

    def inputs(self, config: EncoderConfig) -> list[Input]:
        """See `Architecture`: `input_ids` and `attention_mask`."""
        return [Input("input_ids"), Input("attention_mask")]

    def lengths(self, config: EncoderConfig) -> tuple[int, int]:
        return _FEWEST_TOKENS, _MOST_TOKENS

    def encode(self, blocks: Blocks, inputs: Tensors) -> list[Symbolic]:
        """See `Architecture`: the rows of the table."""
        config = blocks.config
        sizes = config.vocab_size, config.hidden_size
        return [blocks.embedding(_WORDS, *sizes, inputs["input_ids"])]

    def counted(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        """See `Architecture`: without unknown tokens."""
        mask = super().counted(blocks, inputs)
        if (unknown := cast(StaticConfig, blocks.config).unknown_id) is None:
            return mask
        return blocks.without("known", mask, inputs["input_ids"], unknown)

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: none, for there are no classifiers."""
        return []

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: none, as nothing reads the table but the mean."""
        return []

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        return self.table

    def made(self, config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Made]:
        """See `Architecture`: the table, of numbers of any kind, with a row for each token."""
        if (width := shapes.get(self.table, ())[1:]) != (config.hidden_size,):
            return {}  # and what does not fit is told as of any checkpoint
        parts = tuple(name for name in (self.table, _MAPPING, _WEIGHTS) if name in shapes)
        if any(shapes[name] != (config.vocab_size,) for name in parts[1:]):
            return {}
        return {self.table: Made((config.vocab_size, *width), parts, _rows)}


@register
class StaticEmbedding(Model2Vec):
    """The module of sentence-transformers, to which an unknown token is one like others."""

    model_type = "static-embedding"
    class_name = "StaticEmbedding"
    table = "embedding.weight"

    def read(self, fields: Fields) -> dict[str, Any]:
        return {**super().read(fields), "unknown_id": None}


def _rows(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """The row of each token, (V, C): table[mapping] * weights.

    Raises:
        CheckpointError: a row is asked for that the table has not.
    """
    (table,) = (value for name, value in parts.items() if name not in (_MAPPING, _WEIGHTS))
    if (mapping := parts.get(_MAPPING)) is not None:
        is_index = np.issubdtype(mapping.dtype, np.integer)
        if not is_index or mapping.min() < 0 or mapping.max() >= len(table):
            raise CheckpointError(
                f"{_MAPPING} must have the row of each token, 0 to {len(table) - 1}; take the model as "
                "it was published"
            )
        table = table[mapping]
    if (weights := parts.get(_WEIGHTS)) is None:
        return table
    return table.astype(np.float32) * weights.astype(np.float32)[:, np.newaxis]
