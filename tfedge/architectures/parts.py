"""What the parts of an encoder are called, and how its tensors are added up."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Names of the tables that tokens enter through, of their sum and of the norm after it."""

    words: str = "embeddings.word_embeddings"
    types: str = "embeddings.token_type_embeddings"
    positions: str = "embeddings.position_embeddings"
    total: str = "embeddings.sum"
    norm: str = "embeddings.LayerNorm"

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules with weights."""
        return (self.words, self.types, self.positions, self.norm)


@dataclasses.dataclass(frozen=True)
class Parts:
    """Names of modules within a layer, as in the checkpoint, and of its two residual sums."""

    prefix: str = "encoder.layer"  # of every layer's modules, before the layer's index
    attention: str = "attention.self"  # the products of queries, keys and values
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attention_output: str = "attention.output.dense"
    attention_total: str = "attention.output.sum"
    attention_norm: str = "attention.output.LayerNorm"
    ffn_input: str = "intermediate.dense"
    ffn_output: str = "output.dense"
    ffn_total: str = "output.sum"
    ffn_norm: str = "output.LayerNorm"

    def layer(self, index: int) -> str:
        """The name of a layer."""
        return f"{self.prefix}.{index}"

    def of_layer(self, index: int) -> Parts:
        """The same names with that of a layer before them."""
        names = {part: f"{self.layer(index)}.{name}" for part, name in vars(self).items()}
        return Parts(**names | {"prefix": self.prefix})

    @property
    def projections(self) -> tuple[str, str, str]:
        """The dense layers before the attention."""
        return self.query, self.key, self.value

    @property
    def context(self) -> str:
        """The tensor with each head's context, (B, H, S, D)."""
        return f"{self.attention}.context.heads"

    @property
    def activation(self) -> str:
        """The tensor of the neurons, (B, S, I)."""
        return f"{self.ffn_input}.act"


@dataclasses.dataclass(frozen=True)
class Stream:
    """Tensors that are added up and so can only be scaled together, channel by channel."""

    name: str  # of the stream; of one that ends in a norm, the norm's
    # The tables, dense layers and norms whose outputs are in it; of a residual connection the norm
    # that it starts from is the first.
    writers: tuple[str, ...]
    totals: tuple[str, ...] = ()  # their sums, each read by the norm of the same place in `norms`
    norms: tuple[str, ...] = ()  # what normalises the sums
    readers: tuple[str, ...] = ()  # the dense layers that read it
    # Where the stream ends in one norm, the dense layer whose output is in it.
    dense: str | None = None


def residual(source: str, readers: tuple[str, ...], dense: str, total: str, norm: str) -> Stream:
    """The stream of one residual connection: norm(total = dense(...) + output of the norm `source`),
    which the dense layers `readers` read too."""
    return Stream(norm, (source, dense), (total,), (norm,), readers, dense)


class Biases(NamedTuple):
    """What is added to the scores of an attention; None where there is nothing."""

    mask: Any = None  # of `Blocks.attention_bias`, (B, 1, 1, S)
    relative: Any = None  # of `Blocks.relative_bias`, (1, H, S, S)
