"""MobileBERT (Sun et al. 2020, arXiv:2004.02984): thin layers between wide hidden states."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from tfedge.architectures.base import EncoderConfig, is_within, register
from tfedge.architectures.fields import LARGEST_DEPTH, Fields, head_size, refuse_matrix
from tfedge.architectures.parts import Biases, Stream, residual
from tfedge.architectures.postnorm import PostNorm
from tfedge.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np

    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_NORMALISATIONS = ("layer_norm", "no_norm")
_FLAGS = {
    "use_bottleneck": True,
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": True,
    "trigram_input": True,
    "classifier_activation": True,
}
_TRANSFORMATION = "embeddings.embedding_transformation"
# transformers passes the config's epsilon to every norm but those after the embeddings and after a
# layer's last feed-forward network, which are left with torch's default.
_TORCH_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class MobileBertConfig(EncoderConfig):
    """MobileBERT's sizes and choices, by the names of transformers."""

    embedding_size: int  # width of the word embedding
    intra_bottleneck_size: int  # width inside the bottlenecks; `hidden_size` where there are none
    use_bottleneck: bool
    use_bottleneck_attention: bool
    key_query_shared_bottleneck: bool
    trigram_input: bool
    classifier_activation: bool
    num_feedforward_networks: int
    pad_token_id: int

    @property
    def transforms_words(self) -> bool:
        """Whether a dense layer leads from the word embeddings to the hidden states."""
        return self.trigram_input or self.embedding_size != self.hidden_size


def _own(config: EncoderConfig) -> MobileBertConfig:
    return cast(MobileBertConfig, config)


@register
class MobileBert(PostNorm):
    """MobileBERT."""

    model_type = "mobilebert"
    class_name = "MobileBert"
    config_class = MobileBertConfig
    can_be_cut = False
    summary_modules = ("pooler.dense",)

    def read(self, fields: Fields) -> dict[str, Any]:
        values = super().read(fields)
        flags = {name: fields.flag(name, default) for name, default in _FLAGS.items()}
        shared = flags["use_bottleneck_attention"] or flags["key_query_shared_bottleneck"]
        if flags["use_bottleneck"] and not shared:
            raise CheckpointError(
                "config.json: use_bottleneck needs use_bottleneck_attention or "
                "key_query_shared_bottleneck; without either, transformers feeds queries and keys "
                "tensors of the wrong width, so there is no such model to agree with"
            )
        hidden, words = values["hidden_size"], fields.size("embedding_size", 128)
        inner = fields.size("intra_bottleneck_size", 128) if flags["use_bottleneck"] else hidden
        rows = (values["vocab_size"], values["max_position_embeddings"], hidden, inner)
        refuse_matrix(max(hidden, words), *rows, values["intermediate_size"])
        return {
            **values,
            **flags,
            "hidden_act": fields.activation("relu"),
            "hidden_dropout_prob": fields.number("hidden_dropout_prob", 0.0),
            "head_size": head_size(inner, values["num_attention_heads"]),
            "embedding_size": words,
            "intra_bottleneck_size": inner,
            "num_feedforward_networks": fields.size("num_feedforward_networks", 4, LARGEST_DEPTH),
            "pad_token_id": fields.size("pad_token_id", 0, values["vocab_size"] - 1, least=0),
            "normalization_type": fields.choice("normalization_type", _NORMALISATIONS, "no_norm"),
        }

    def embed(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        config, names, ids = _own(blocks.config), self.embeddings, inputs["input_ids"]
        words = blocks.embedding(names.words, config.vocab_size, config.embedding_size, ids)
        if config.trigram_input:
            words = blocks.trigram_dense(_TRANSFORMATION, config.hidden_size, words)
        elif config.transforms_words:
            words = blocks.dense(_TRANSFORMATION, config.hidden_size, words)
        positions = blocks.positions(names.positions, config.hidden_size, ids)
        types = blocks.token_types(names.types, config.hidden_size, inputs)
        total = blocks.add(names.total, words, positions, types)
        return blocks.dropout("embeddings", blocks.norm(names.norm, total, _TORCH_EPSILON))

    def layer(self, blocks: Blocks, index: int, x: Symbolic, biases: Biases) -> Symbolic:
        config, name = _own(blocks.config), self.parts.layer(index)
        query_key, value, shortcut = _bottleneck(blocks, name, x)
        read = blocks.computed_rows(index, query_key, "query"), query_key, value
        names = self.parts.of_layer(index)
        context = blocks.self_attention(names, config.num_attention_heads, read, biases)
        shortcut = blocks.computed_rows(index, shortcut, "shortcut")
        y = _residual(blocks, f"{name}.attention.output", context, shortcut)
        for network in range(config.num_feedforward_networks - 1):
            y = _feed_forward(blocks, f"{name}.ffn.{network}", y)
        y = _feed_forward(blocks, name, y, _TORCH_EPSILON)
        if not config.use_bottleneck:
            return y
        outer = blocks.computed_rows(index, x, "outer")
        return _residual(blocks, f"{name}.output.bottleneck", y, outer)

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: that of BERT, or [CLS] as it is."""
        if _own(blocks.config).classifier_activation:
            return super().summary(blocks, hidden)
        return [blocks.dropout("pooler", blocks.token(hidden))]

    def entry(self, config: EncoderConfig) -> Stream:
        """See `PostNorm`; words after their transformation to the hidden size."""
        names = self.embeddings
        words = _TRANSFORMATION if _own(config).transforms_words else names.words
        writers = (words, names.positions, names.types)
        return Stream(names.norm, writers, (names.total,), (names.norm,))

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `PostNorm`: within each layer's bottleneck, then around it."""
        own = _own(config)
        result = [self.entry(config)]
        for index in range(config.num_hidden_layers):
            name, source = self.parts.layer(index), result[-1].name
            narrow, readers, wide_readers = _attention_inputs(own, name, source)
            result.append(_stream(narrow, readers, f"{name}.attention.output"))
            networks = [f"{name}.ffn.{i}" for i in range(own.num_feedforward_networks - 1)]
            for part in (*networks, name):
                dense = (f"{part}.intermediate.dense",)
                result.append(_stream(result[-1].name, dense, f"{part}.output"))
            if own.use_bottleneck:
                result.append(_stream(source, wide_readers, f"{name}.output.bottleneck"))
        return result

    def padding_id(self, config: EncoderConfig) -> int | None:
        """See `Architecture`: the token before it reads it, as one of its neighbours."""
        own = _own(config)
        return own.pad_token_id if own.trigram_input else None

    def loaded(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        """See `Architecture`; transformers pads no single text, so behind its end there are zeros."""
        padding = self.padding_id(config)
        if padding is not None and name == f"{self.embeddings.words}.weight":
            tensor = tensor.copy()
            tensor[padding] = 0
        return tensor

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        own = _own(config)
        if own.use_bottleneck_attention and ".bottleneck.attention." in tensor:
            return True
        return not own.transforms_words and is_within(tensor, (_TRANSFORMATION,))

    def exported(self, config: EncoderConfig) -> dict[str, Any]:
        # Nothing reads the shared bottleneck then; without the flag transformers builds none.
        unread = _own(config).use_bottleneck_attention
        return {"key_query_shared_bottleneck": False} if unread else {}


def _bottleneck(blocks: Blocks, name: str, x: Symbolic) -> tuple[Symbolic, Symbolic, Symbolic]:
    """What queries and keys, values, and the residual connection of the attention read."""
    config = _own(blocks.config)
    if not config.use_bottleneck:
        return x, x, x

    def narrow(part: str) -> Symbolic:
        part_name = f"{name}.bottleneck.{part}"
        y = blocks.dense(f"{part_name}.dense", config.intra_bottleneck_size, x)
        return blocks.norm(f"{part_name}.LayerNorm", y)

    narrowed = narrow("input")
    if config.use_bottleneck_attention:
        return narrowed, narrowed, narrowed
    return narrow("attention"), x, narrowed


def _feed_forward(blocks: Blocks, name: str, x: Symbolic, epsilon: float | None = None) -> Symbolic:
    config = blocks.config
    y = blocks.activated_dense(
        f"{name}.intermediate.dense", config.hidden_act, config.intermediate_size, x
    )
    return _residual(blocks, f"{name}.output", y, x, epsilon)


def _residual(
    blocks: Blocks, name: str, x: Symbolic, shortcut: Symbolic, epsilon: float | None = None
) -> Symbolic:
    """norm(shortcut + dense(x))."""
    y = blocks.dense(f"{name}.dense", shortcut.shape[-1], x)
    total = blocks.add(f"{name}.sum", blocks.dropout(name, y), shortcut)
    return blocks.norm(f"{name}.LayerNorm", total, epsilon)


def _stream(source: str, readers: tuple[str, ...], name: str) -> Stream:
    """The stream that `_residual` of the same name ends."""
    return residual(source, readers, f"{name}.dense", f"{name}.sum", f"{name}.LayerNorm")


def _attention_inputs(
    config: MobileBertConfig, name: str, source: str
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The norm at the start of the inner stream, its dense readers, and those of the outer one."""
    query, key, value = (f"{name}.attention.self.{part}" for part in ("query", "key", "value"))
    narrow = f"{name}.bottleneck.input"
    if not config.use_bottleneck:
        return source, (query, key, value), ()
    if config.use_bottleneck_attention:
        return f"{narrow}.LayerNorm", (query, key, value), (f"{narrow}.dense",)
    shared = f"{name}.bottleneck.attention.dense"
    return f"{narrow}.LayerNorm", (), (f"{narrow}.dense", shared, value)
