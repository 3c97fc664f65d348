"""BERT (Devlin et al. 2019), and with it TinyBERT and MiniLM, which are BERTs of other sizes."""

from __future__ import annotations

from tfedge.models.blocks import Blocks, Entry, Junction, Symbolic
from tfedge.models.config import EncoderConfig


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
    words = word_embeddings(blocks, inputs["input_ids"])
    types = token_type_embeddings(blocks, inputs["token_type_ids"])
    positions = position_embeddings(blocks, inputs["input_ids"])
    total = blocks.add("embeddings.sum", words, types, positions)
    return blocks.dropout("embeddings", blocks.norm("embeddings.LayerNorm", total))


def word_embeddings(blocks: Blocks, input_ids: Symbolic) -> Symbolic:
    """input_ids (B, S) -> (B, S, embedding_size)."""
    config = blocks.config
    return blocks.embedding(
        "embeddings.word_embeddings", config.vocab_size, config.embedding_size, input_ids
    )


def token_type_embeddings(blocks: Blocks, token_type_ids: Symbolic) -> Symbolic:
    """token_type_ids (B, S) -> (B, S, C)."""
    config = blocks.config
    return blocks.embedding(
        "embeddings.token_type_embeddings",
        config.type_vocab_size,
        config.hidden_size,
        token_type_ids,
    )


def position_embeddings(blocks: Blocks, input_ids: Symbolic) -> Symbolic:
    """The position table's first rows, (1, S, C)."""
    return blocks.positions("embeddings.position_embeddings", input_ids)


def _layer(blocks: Blocks, index: int, x: Symbolic, bias: Symbolic) -> Symbolic:
    config = blocks.config
    name = f"encoder.layer.{index}"
    attention = f"{name}.attention.self"
    width = config.heads(index) * config.head_size
    rows = blocks.computed_rows(index, x)
    query = blocks.dense(f"{attention}.query", width, rows, role="query")
    key = blocks.dense(f"{attention}.key", width, x, role="key")
    value = blocks.dense(f"{attention}.value", width, x, role="value")
    context = blocks.attention(attention, query, key, value, bias)
    x = residual(blocks, f"{name}.attention.output", context, rows)
    y = blocks.activated_dense(
        f"{name}.intermediate.dense", config.hidden_act, config.neurons(index), x
    )
    return residual(blocks, f"{name}.output", y, x)


def residual(
    blocks: Blocks, name: str, x: Symbolic, shortcut: Symbolic, epsilon: float | None = None
) -> Symbolic:
    """norm(shortcut + dense(x)), the end of both halves of a layer."""
    y = blocks.dense(f"{name}.dense", shortcut.shape[-1], x)
    total = blocks.add(f"{name}.sum", blocks.dropout(name, y), shortcut)
    return blocks.norm(f"{name}.LayerNorm", total, epsilon)


def entry(config: EncoderConfig) -> Entry:
    """The sum of the embeddings."""
    del config
    parts = ("word", "token_type", "position")
    return Entry(tuple(f"embeddings.{part}_embeddings" for part in parts), "embeddings.sum")


def junctions(config: EncoderConfig) -> list[Junction]:
    """The residual connections in the order of the data's flow."""
    result = []
    source = "embeddings.LayerNorm"
    for index in range(config.num_hidden_layers):
        layer = f"encoder.layer.{index}"
        projections = tuple(f"{layer}.attention.self.{part}" for part in ("query", "key", "value"))
        attention = residual_junction(source, projections, f"{layer}.attention.output")
        feed_forward = residual_junction(
            attention.norm, (f"{layer}.intermediate.dense",), f"{layer}.output"
        )
        result += [attention, feed_forward]
        source = feed_forward.norm
    return result


def residual_junction(source: str, readers: tuple[str, ...], name: str) -> Junction:
    """The junction that `residual` of the same name makes."""
    return Junction(source, readers, f"{name}.dense", f"{name}.sum", f"{name}.LayerNorm")
