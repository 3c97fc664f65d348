"""MobileBERT (Sun et al. 2020, arXiv:2004.02984): thin layers between wide hidden states."""

from __future__ import annotations

from tfedge.models.bert import (
    position_embeddings,
    residual,
    residual_junction,
    token_type_embeddings,
    word_embeddings,
)
from tfedge.models.blocks import Blocks, Entry, Junction, Symbolic
from tfedge.models.config import EncoderConfig

# transformers passes the config's epsilon to every norm but those after the embeddings and after a
# layer's last feed-forward network, which are left with torch's default.
_TORCH_EPSILON = 1e-5


def encode(blocks: Blocks, inputs: dict[str, Symbolic]) -> list[Symbolic]:
    """The hidden states (B, S, C) after the embeddings and after each layer.

    Args:
        inputs: `input_ids`, `attention_mask` and `token_type_ids`, int32 (B, S) each.
    """
    hidden_states = [_embed(blocks, inputs)]
    bias = blocks.attention_bias(inputs["attention_mask"])
    for index in range(blocks.config.num_hidden_layers):
        hidden_states.append(_layer(blocks, index, hidden_states[-1], bias))
    return hidden_states


def _embed(blocks: Blocks, inputs: dict[str, Symbolic]) -> Symbolic:
    config = blocks.config
    words = word_embeddings(blocks, inputs["input_ids"])
    transformation = "embeddings.embedding_transformation"
    if config.trigram_input:
        words = blocks.trigram_dense(transformation, config.hidden_size, words)
    elif config.embedding_size != config.hidden_size:
        words = blocks.dense(transformation, config.hidden_size, words)
    positions = position_embeddings(blocks, inputs["input_ids"])
    types = token_type_embeddings(blocks, inputs["token_type_ids"])
    total = blocks.add("embeddings.sum", words, positions, types)
    normed = blocks.norm("embeddings.LayerNorm", total, _TORCH_EPSILON)
    return blocks.dropout("embeddings", normed)


def _layer(blocks: Blocks, index: int, x: Symbolic, bias: Symbolic) -> Symbolic:
    config = blocks.config
    name = f"encoder.layer.{index}"
    query_key, value, shortcut = _bottleneck(blocks, name, x)
    query_rows = blocks.computed_rows(index, query_key, "query")
    attention = f"{name}.attention.self"
    width = config.num_attention_heads * config.head_size
    context = blocks.attention(
        attention,
        blocks.dense(f"{attention}.query", width, query_rows, role="query"),
        blocks.dense(f"{attention}.key", width, query_key, role="key"),
        blocks.dense(f"{attention}.value", width, value, role="value"),
        bias,
    )
    shortcut = blocks.computed_rows(index, shortcut, "shortcut")
    y = residual(blocks, f"{name}.attention.output", context, shortcut)
    for index in range(config.num_feedforward_networks - 1):
        y = _feed_forward(blocks, f"{name}.ffn.{index}", y)
    y = _feed_forward(blocks, name, y, _TORCH_EPSILON)
    if not config.use_bottleneck:
        return y
    return residual(blocks, f"{name}.output.bottleneck", y, blocks.computed_rows(index, x, "outer"))


def _bottleneck(blocks: Blocks, name: str, x: Symbolic) -> tuple[Symbolic, Symbolic, Symbolic]:
    """What queries and keys, values, and the residual connection of the attention read."""
    config = blocks.config
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
    return residual(blocks, f"{name}.output", y, x, epsilon)


def entry(config: EncoderConfig) -> Entry:
    """The sum of the embeddings, words after their transformation to the hidden size."""
    transformed = config.trigram_input or config.embedding_size != config.hidden_size
    words = "embedding_transformation" if transformed else "word_embeddings"
    parts = (words, "position_embeddings", "token_type_embeddings")
    return Entry(tuple(f"embeddings.{part}" for part in parts), "embeddings.sum")


def junctions(config: EncoderConfig) -> list[Junction]:
    """The residual connections: within each layer's bottleneck, then around it."""
    result: list[Junction] = []
    source = "embeddings.LayerNorm"
    for index in range(config.num_hidden_layers):
        name = f"encoder.layer.{index}"
        narrow, readers, wide_readers = _attention_inputs(config, name, source)
        result.append(residual_junction(narrow, readers, f"{name}.attention.output"))
        for part in (
            *(f"{name}.ffn.{i}" for i in range(config.num_feedforward_networks - 1)),
            name,
        ):
            dense = (f"{part}.intermediate.dense",)
            result.append(residual_junction(result[-1].norm, dense, f"{part}.output"))
        if config.use_bottleneck:
            around = f"{name}.output.bottleneck"
            result.append(residual_junction(source, wide_readers, around))
        source = result[-1].norm
    return result


def _attention_inputs(
    config: EncoderConfig, name: str, source: str
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
