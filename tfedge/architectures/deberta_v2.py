"""DeBERTa v2 and v3 (He et al. 2021, arXiv:2006.03654 and arXiv:2111.09543): BERT whose attention knows
how far tokens lie apart by vectors of their own, and not where they stand."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tfedge.architectures.base import EncoderConfig, register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Biases, Distances, Parts, Stream
from tfedge.architectures.postnorm import PostNorm

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_TABLE, _TABLE_NORM = "encoder.rel_embeddings", "encoder.LayerNorm"
_TERMS = ("c2p", "p2c")  # of a query with the key of a distance, of a key with the query of one
_OF_DISTANCES = ".distances"  # what shares a dense layer's weights and reads the table


@dataclasses.dataclass(frozen=True, kw_only=True)
class DebertaConfig(EncoderConfig):
    """BERT's sizes and how distances are told."""

    has_positions: bool  # whether positions are added to words too
    pos_att_type: tuple[str, ...]
    share_att_key: bool  # whether distances have the dense layers of queries and keys
    position_buckets: int  # rows of the table for either direction; below 1, one for each distance
    max_relative_positions: int
    norm_rel_ebd: bool  # whether the table is normalised
    pooler_act: str

    @property
    def span(self) -> int:
        """The rows of the table for either direction."""
        return self.position_buckets if self.position_buckets > 0 else self.max_relative_positions


def _own(config: EncoderConfig) -> DebertaConfig:
    return cast(DebertaConfig, config)


@register
class DebertaV2(PostNorm):
    """DeBERTa v2 and v3, by the names of transformers."""

    model_type = "deberta-v2"
    class_name = "DebertaV2"
    config_class = DebertaConfig
    adds_places = True
    can_be_cut = False
    whole_because = "the tables of its distances are not cut with its heads yet"
    parts = Parts(
        query="attention.self.query_proj",
        key="attention.self.key_proj",
        value="attention.self.value_proj",
    )
    summary_modules = ("pooler.dense",)
    encoder_modules = ()
    pretraining_heads = ("cls", "lm_predictions", "mask_predictions")
    pretraining_modules = pretraining_heads

    @property
    def prefix(self) -> str:
        return "deberta."

    def read(self, fields: Fields) -> dict[str, Any]:
        fields.unsupported("relative_attention", (True,))
        fields.unsupported("conv_kernel_size", (None, 0))
        fields.unsupported("is_decoder", (False, None))
        sizes = fields.sizes()
        for key in ("embedding_size", "pooler_hidden_size"):
            fields.unsupported(key, (None, sizes["hidden_size"]))
        longest = fields.size("max_position_embeddings", 512)
        terms = fields.terms("pos_att_type", _TERMS)
        most = fields.size("max_relative_positions", -1, least=-1)
        return {
            **sizes,
            "vocab_size": fields.size("vocab_size"),
            "max_position_embeddings": longest,
            "type_vocab_size": fields.size("type_vocab_size", 0, least=0),
            "hidden_act": fields.activation("gelu"),
            "layer_norm_eps": fields.epsilon("layer_norm_eps", 1e-7),
            "hidden_dropout_prob": fields.number("hidden_dropout_prob", 0.1),
            "attention_probs_dropout_prob": fields.number("attention_probs_dropout_prob", 0.1),
            "score_terms": 1 + len(terms),
            "has_positions": fields.flag("position_biased_input", True),
            "pos_att_type": terms,
            "share_att_key": fields.flag("share_att_key", False),
            "position_buckets": fields.size("position_buckets", -1, least=-1),
            "max_relative_positions": most if most > 0 else longest,
            "norm_rel_ebd": fields.choice("norm_rel_ebd", ("none", "layer_norm"), "none") != "none",
            "pooler_act": fields.activation("gelu", "pooler_hidden_act"),
        }

    def encode(self, blocks: Blocks, inputs: Tensors) -> list[Symbolic]:
        config, mask = _own(blocks.config), inputs["attention_mask"]
        names_of = functools.partial(self._dense, config)
        norm = _TABLE_NORM if config.norm_rel_ebd else ""
        given = Distances((_TABLE, norm), 2 * config.span, rows_of_distances(config), names_of)
        biases = Biases(blocks.attention_bias(mask), distances=blocks.distances(given, mask))
        hidden_states = [self.embed(blocks, inputs)]
        for index in range(config.num_hidden_layers):
            hidden_states.append(self.layer(blocks, index, hidden_states[-1], biases))
        return hidden_states

    def embed(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        """See `PostNorm`; words alone, where nothing else is added."""
        config, names, ids = _own(blocks.config), self.embeddings, inputs["input_ids"]
        width = config.hidden_size
        terms = [blocks.embedding(names.words, config.vocab_size, width, ids)]
        if config.type_vocab_size:
            terms.append(blocks.token_types(names.types, width, inputs))
        if config.has_positions:
            terms.append(blocks.positions(names.positions, width, ids))
        total = blocks.add(names.total, *terms) if len(terms) > 1 else terms[0]
        return blocks.dropout("embeddings", blocks.norm(names.norm, total))

    def entry(self, config: EncoderConfig) -> Stream:
        """See `PostNorm`."""
        names = self.embeddings
        types = (names.types,) if config.type_vocab_size else ()
        positions = (names.positions,) if _own(config).has_positions else ()
        writers = (names.words, *types, *positions)
        total = names.total if len(writers) > 1 else names.words
        return Stream(names.norm, writers, (total,), (names.norm,))

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `PostNorm`; with an activation of its own."""
        (name,) = self.summary_modules
        width, first = blocks.config.hidden_size, blocks.token(hidden)
        pooled = blocks.activated_dense(name, _own(blocks.config).pooler_act, width, first)
        return [blocks.dropout("pooler", pooled)]

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        """See `Architecture`: of distances, that of contents where the two share weights."""
        return name.replace(_OF_DISTANCES, "")

    def shares_weights(self, config: EncoderConfig) -> bool:
        """See `Architecture`: contents and distances do."""
        return _own(config).share_att_key

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        """See `Architecture`: positions are stored that no word is added to."""
        unread = tensor == f"{self.embeddings.positions}.weight"
        return unread and not _own(config).has_positions

    def _dense(self, config: DebertaConfig, names: Parts) -> tuple[str, str]:
        """The dense layers of the table, see `Distances`."""
        if config.share_att_key:
            made = (names.key + _OF_DISTANCES, names.query + _OF_DISTANCES)
        else:
            made = (f"{names.attention}.pos_key_proj", f"{names.attention}.pos_query_proj")
        key, query = (
            name if term in config.pos_att_type else ""
            for term, name in zip(_TERMS, made, strict=True)
        )
        return key, query


def rows_of_distances(config: EncoderConfig) -> np.ndarray:
    """The row of the table for each distance of a query from a key, int32 (2 P - 1,): distances up to
    half the rows of a direction have one each, farther ones share some, in steps that grow.

    In float32, as transformers computes them, so that no distance falls on the other side.
    """
    own = _own(config)
    distance = np.arange(1 - own.max_position_embeddings, own.max_position_embeddings)
    row = distance
    if own.position_buckets > 0:
        middle, near = own.position_buckets // 2, np.abs(distance)
        farthest = np.float32((own.max_relative_positions - 1) / middle)
        far = np.maximum(near, middle).astype(np.float32) / np.float32(middle)
        growth = np.log(far) / np.log(farthest) * np.float32(middle - 1)
        shared = (np.ceil(growth) + np.float32(middle)) * np.sign(distance)
        row = np.where(near <= middle, distance, shared.astype(np.int64))
    return np.clip(row + own.span, 0, 2 * own.span - 1).astype(np.int32)
