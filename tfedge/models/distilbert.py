"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108): BERT without token types and pooler."""

from __future__ import annotations

from tfedge.models.bert import position_embeddings, word_embeddings
from tfedge.models.blocks import Blocks, Entry, Junction, Symbolic
from tfedge.models.config import EncoderConfig


def encode(blocks: Blocks, inputs: dict[str, Symbolic]) -> list[Symbolic]:
    """The hidden states (B, S, C) after the embeddings and after each layer.

    Args:
        inputs: `input_ids` and `attention_mask`, int32 (B, S) each.
    """
    words = word_embeddings(blocks, inputs["input_ids"])
    positions = position_embeddings(blocks, inputs["input_ids"])
    x = blocks.norm("embeddings.LayerNorm", blocks.add("embeddings.sum", words, positions))
    hidden_states = [blocks.dropout("embeddings", x)]
    bias = blocks.attention_bias(inputs["attention_mask"])
    for index in range(blocks.config.num_hidden_layers):
        hidden_states.append(_layer(blocks, index, hidden_states[-1], bias))
    return hidden_states


def _layer(blocks: Blocks, index: int, x: Symbolic, bias: Symbolic) -> Symbolic:
    config = blocks.config
    name = f"transformer.layer.{index}"
    attention = f"{name}.attention"
    width = config.heads(index) * config.head_size
    rows = blocks.computed_rows(index, x)
    query = blocks.dense(f"{attention}.q_lin", width, rows, role="query")
    key = blocks.dense(f"{attention}.k_lin", width, x, role="key")
    value = blocks.dense(f"{attention}.v_lin", width, x, role="value")
    context = blocks.attention(attention, query, key, value, bias)
    y = blocks.dense(f"{attention}.out_lin", config.hidden_size, context)
    x = blocks.norm(f"{name}.sa_layer_norm", blocks.add(f"{attention}.sum", y, rows))
    y = blocks.activated_dense(f"{name}.ffn.lin1", config.hidden_act, config.neurons(index), x)
    y = blocks.dropout(f"{name}.ffn", blocks.dense(f"{name}.ffn.lin2", config.hidden_size, y))
    return blocks.norm(f"{name}.output_layer_norm", blocks.add(f"{name}.ffn.sum", y, x))


def entry(config: EncoderConfig) -> Entry:
    """The sum of the embeddings."""
    del config
    parts = ("word", "position")
    return Entry(tuple(f"embeddings.{part}_embeddings" for part in parts), "embeddings.sum")


def junctions(config: EncoderConfig) -> list[Junction]:
    """The residual connections in the order of the data's flow."""
    result = []
    source = "embeddings.LayerNorm"
    for index in range(config.num_hidden_layers):
        name = f"transformer.layer.{index}"
        attention, ffn = f"{name}.attention", f"{name}.ffn"
        readers = tuple(f"{attention}.{part}_lin" for part in "qkv")
        middle, source_of_next = f"{name}.sa_layer_norm", f"{name}.output_layer_norm"
        result.append(Junction(source, readers, f"{attention}.out_lin", f"{attention}.sum", middle))
        result.append(
            Junction(middle, (f"{ffn}.lin1",), f"{ffn}.lin2", f"{ffn}.sum", source_of_next)
        )
        source = source_of_next
    return result
