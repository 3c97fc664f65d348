"""What the modules of an encoder are called whose layers all consist of the same parts."""

from __future__ import annotations

import dataclasses


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
    """Names of modules within a layer, as in the checkpoint, and of its two residual sums.

    Attributes:
        prefix: of every layer's modules, before the layer's index.
        attention: the products of queries, keys and values.
    """

    prefix: str
    attention: str
    query: str
    key: str
    value: str
    attention_output: str
    attention_total: str
    attention_norm: str
    ffn_input: str
    ffn_output: str
    ffn_total: str
    ffn_norm: str

    def layer(self, index: int) -> str:
        """The name of a layer."""
        return f"{self.prefix}.{index}"

    def of_layer(self, index: int) -> Parts:
        """The same names with that of a layer before them."""
        layer = self.layer(index)
        names = {
            field.name: f"{layer}.{getattr(self, field.name)}" for field in dataclasses.fields(self)
        }
        return Parts(**names | {"prefix": self.prefix})

    @property
    def context(self) -> str:
        """The tensor with each head's context, (B, H, S, D)."""
        return f"{self.attention}.context.heads"

    @property
    def activation(self) -> str:
        """The tensor of the neurons, (B, S, I)."""
        return f"{self.ffn_input}.act"
