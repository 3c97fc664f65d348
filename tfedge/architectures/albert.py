"""ALBERT (Lan et al. 2019, arXiv:1909.11942): BERT whose layers share their weights, behind tables of a
width of their own."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from tfedge.architectures.base import EncoderConfig, register
from tfedge.architectures.fields import LARGEST_DEPTH, Fields, refuse_matrix
from tfedge.architectures.parts import Parts, WordHead
from tfedge.architectures.postnorm import PostNorm
from tfedge.errors import CheckpointError

_LAYERS = "encoder.layer"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlbertConfig(EncoderConfig):
    """BERT's sizes, the width of the tables, and which layers share their weights.

    `num_hidden_layers` counts what is computed: a group has `inner_group_num` layers, which differ,
    and is passed through as often as config.json's own `num_hidden_layers` says.
    """

    embedding_size: int
    num_hidden_groups: int
    inner_group_num: int


def _own(config: EncoderConfig) -> AlbertConfig:
    return cast(AlbertConfig, config)


@register
class Albert(PostNorm):
    """ALBERT, in which a layer of ours has one of the few layers of the checkpoint."""

    model_type = "albert"
    class_name = "Albert"
    config_class = AlbertConfig
    word_head = WordHead(
        "predictions.dense", "predictions.LayerNorm", "predictions.decoder", "predictions"
    )
    parts = Parts(
        prefix=_LAYERS,
        attention="attention",
        query="attention.query",
        key="attention.key",
        value="attention.value",
        attention_output="attention.dense",
        attention_total="attention.sum",
        attention_norm="attention.LayerNorm",
        ffn_input="ffn",
        ffn_output="ffn_output",
        ffn_total="ffn_output.sum",
        ffn_norm="full_layer_layer_norm",
    )
    can_be_cut = False
    whole_because = "its layers share their weights, so that none can lose what another keeps"
    summary_modules = ("pooler",)
    counts_summary = True
    pretraining_heads = ("predictions", "sop_classifier")
    pretraining_modules = (*pretraining_heads, "pooler")

    def read(self, fields: Fields) -> dict[str, Any]:
        values = super().read(fields)
        words, hidden = fields.size("embedding_size", 128), values["hidden_size"]
        refuse_matrix(words, values["vocab_size"], values["max_position_embeddings"], hidden)
        passes = values["num_hidden_layers"]
        inner = fields.size("inner_group_num", 1, LARGEST_DEPTH)
        if passes * inner > LARGEST_DEPTH:
            raise CheckpointError(
                f"config.json: {passes} times {inner} layers (num_hidden_layers, inner_group_num) are "
                f"more than {LARGEST_DEPTH}"
            )
        return {
            **values,
            "num_hidden_layers": passes * inner,
            "embedding_size": words,
            "num_hidden_groups": fields.size("num_hidden_groups", 1, passes),
            "inner_group_num": inner,
            "hidden_act": fields.activation("gelu_new"),
            "hidden_dropout_prob": fields.number("hidden_dropout_prob", 0.0),
            "attention_probs_dropout_prob": fields.number("attention_probs_dropout_prob", 0.0),
        }

    def table_width(self, config: EncoderConfig) -> int:
        return _own(config).embedding_size

    def projection(self, config: EncoderConfig) -> str:
        """See `PostNorm`; it is there whatever the widths are."""
        return "encoder.embedding_hidden_mapping_in"

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        """See `Architecture`; groups follow each other in equal shares of the passes."""
        layer, _, part = name.removeprefix(f"{_LAYERS}.").partition(".")
        if not name.startswith(f"{_LAYERS}."):
            return name
        own = _own(config)
        of_pass, inner = divmod(int(layer), own.inner_group_num)
        passes = own.num_hidden_layers // own.inner_group_num
        # In the same order of floating-point operations as in transformers.
        group = int(of_pass / (passes / own.num_hidden_groups))
        return f"encoder.albert_layer_groups.{group}.albert_layers.{inner}.{part}"
