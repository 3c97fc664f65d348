"""ViT (Dosovitskiy et al. 2021, arXiv:2010.11929) and DeiT (Touvron et al. 2021, arXiv:2012.12877).

Tokens are the patches of an image, after a learned one that the classifier reads; a DeiT has a second
one for its teacher's labels. Norms stand before attention and feed-forward network, so the residual
stream runs through all layers, and the last norm is part of the head.
"""

from __future__ import annotations

from tfedge.models.blocks import Blocks, Stream, Symbolic
from tfedge.models.config import EncoderConfig

_PROJECTION = "embeddings.patch_embeddings.projection"
FINAL_NORM = "layernorm"


def encode(blocks: Blocks, inputs: dict[str, Symbolic]) -> list[Symbolic]:
    """The hidden states (B, S, C) after the embeddings and after each layer.

    Args:
        inputs: `pixel_values`, float32 (B, height, width, 3).
    """
    patches = blocks.patches(_PROJECTION, inputs["pixel_values"])
    hidden_states = [blocks.image_tokens("embeddings", patches)]
    for index in range(blocks.config.num_hidden_layers):
        hidden_states.append(_layer(blocks, index, hidden_states[-1]))
    return hidden_states


def _layer(blocks: Blocks, index: int, x: Symbolic) -> Symbolic:
    config = blocks.config
    name = f"encoder.layer.{index}"
    attention = f"{name}.attention.attention"
    width = config.heads(index) * config.head_size
    y = blocks.norm(f"{name}.layernorm_before", x)
    rows = blocks.computed_rows(index, y, "query")
    query = blocks.dense(f"{attention}.query", width, rows, role="query")
    key = blocks.dense(f"{attention}.key", width, y, role="key")
    value = blocks.dense(f"{attention}.value", width, y, role="value")
    context = blocks.attention(attention, query, key, value, None)
    y = blocks.dense(f"{name}.attention.output.dense", config.hidden_size, context)
    x = blocks.add(f"{name}.attention.sum", y, blocks.computed_rows(index, x, "shortcut"))
    y = blocks.norm(f"{name}.layernorm_after", x)
    y = blocks.activated_dense(
        f"{name}.intermediate.dense", config.hidden_act, config.neurons(index), y
    )
    y = blocks.dense(f"{name}.output.dense", config.hidden_size, y)
    return blocks.add(f"{name}.sum", y, x)


def streams(config: EncoderConfig) -> list[Stream]:
    """The residual stream, which all layers share, and what each norm puts out for its readers."""
    writers, totals, norms = [_PROJECTION, "embeddings"], ["embeddings.sum"], []
    outputs = []
    for index in range(config.num_hidden_layers):
        name = f"encoder.layer.{index}"
        attention = f"{name}.attention.attention"
        before, after = f"{name}.layernorm_before", f"{name}.layernorm_after"
        projections = tuple(f"{attention}.{part}" for part in ("query", "key", "value"))
        outputs += [_output(before, *projections), _output(after, f"{name}.intermediate.dense")]
        writers += [f"{name}.attention.output.dense", f"{name}.output.dense"]
        totals += [f"{name}.attention.sum", f"{name}.sum"]
        norms += [before, after]
    outputs.append(_output(FINAL_NORM, *config.classifiers))
    norms.append(FINAL_NORM)
    return [Stream("residual", tuple(writers), tuple(totals), tuple(norms)), *outputs]


def _output(norm: str, *readers: str) -> Stream:
    return Stream(f"{norm}.output", (norm,), readers=readers)
