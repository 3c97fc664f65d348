"""What the parts of an encoder are called, and how its tensors are added up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias


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
    # Where the feed-forward network is gated, what its activations are multiplied by.
    ffn_gate: str = "intermediate.gate"

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

    @property
    def product(self) -> str:
        """The tensor of the neurons behind a gate, (B, S, I)."""
        return f"{self.ffn_gate}.product"


@dataclasses.dataclass(frozen=True)
class WordHead:
    """Names of what guesses words: a dense layer and its activation, a norm, and the word table once
    more, with a bias."""

    dense: str = "cls.predictions.transform.dense"
    norm: str = "cls.predictions.transform.LayerNorm"
    decoder: str = "cls.predictions.decoder"
    bias: str = "cls.predictions"  # the module whose bias it is
    activation: str | None = (
        None  # by the name of `tfedge.architectures.fields`; None: `hidden_act`
    )


@dataclasses.dataclass(frozen=True)
class TextTower:
    """The tower of texts beside one of images, which labels become vectors by; the numbers and the
    activation are what transformers takes where config.json says nothing."""

    projection: str  # the dense layer behind it
    heads: int
    positions: int
    activation: str
    epsilon: float = 1e-5
    # Whether a text is read by its end, and tokens see those before them alone; otherwise by the last
    # place of all, up to which it is padded.
    reads_end: bool = True
    bias: str | None = None  # what is added to products, each of which is then a score by itself


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
    # What streams have in common whose layers share their weights, and that are scaled alike
    # therefore; "" of one without such others.
    family: str = ""
    products: tuple[str, ...] = ()  # what it is times another tensor, number by number
    # How many tokens the last norm reads side by side, whose means it does not take out one by one.
    abreast: int = 1


def families(streams: Iterable[Stream]) -> list[list[Stream]]:
    """The streams that are scaled alike, together, in the order of the first of each."""
    found: dict[str, list[Stream]] = {}
    for stream in streams:
        found.setdefault(f"family {stream.family}" if stream.family else stream.name, []).append(
            stream
        )
    return [*found.values()]


def residual(source: str, readers: tuple[str, ...], dense: str, total: str, norm: str) -> Stream:
    """The stream of one residual connection: norm(total = dense(...) + output of the norm `source`),
    which the dense layers `readers` read too."""
    return Stream(norm, (source, dense), (total,), (norm,), readers, dense)


Grid: TypeAlias = tuple[int, int]  # tokens down and across


class Windows(NamedTuple):
    """How the tokens of an image are cut into windows, from the left upper corner on."""

    grid: Grid
    side: int  # of a window, in tokens
    shift: int  # tokens that the image is moved up and to the left before

    @property
    def filled(self) -> Grid:
        """The tokens with those that fill up windows, down and across."""
        down, across = (size + -size % self.side for size in self.grid)
        return down, across

    @property
    def number(self) -> int:
        """The windows of an image."""
        down, across = self.filled
        return down * across // self.side**2


class Probe(NamedTuple):
    """Names of an attention whose one query is learned, so that its products with keys are a dense
    layer."""

    scores: str  # that layer, of a number for each head
    value: str
    attention: str  # its softmax and its sums


class Rotary(NamedTuple):
    """What queries and keys are turned by at each position, (1, S, H * D) each."""

    cosines: Any
    sines: Any  # with the signs of what they multiply


class Distances(NamedTuple):
    """What scores know of how far tokens lie apart, beside their contents (He et al. 2021,
    arXiv:2006.03654, equation 4)."""

    modules: tuple[str, str]  # a table of vectors, and the norm behind it; empty for none
    rows: int  # of the table
    numbers: (
        Any  # the row of each distance of a query from a key, -(P - 1) to P - 1, int32 (2 P - 1,)
    )
    # Of an attention, by its names: the dense layers that make keys and queries of the table; empty
    # where there are none.
    names: Callable[[Parts], tuple[str, str]]
    table: Any = None  # of `Blocks.distances`: the vectors, (rows, C)
    values: Callable[[], Any] | None = None  # the same as they are now, float32


class DistanceTables(NamedTuple):
    """Keys and queries for each distance that a query of a graph has from a key; None for none."""

    keys: Any = None  # (1, H, D, S + R - 1) for R queries, from the farthest key before them on
    queries: Any = None  # the same the other way round


class Biases(NamedTuple):
    """What of an attention depends on places; None where there is nothing.

    The first two are added to its scores.
    """

    # Of `Blocks.attention_bias`, (B, 1, 1, S), or of `Blocks.window_bias` or `Blocks.shift_mask`.
    mask: Any = None
    relative: Any = None  # of `Blocks.relative_bias`, (1, H, S, S)
    rotary: Rotary | None = None  # of `Blocks.rotary`
    distances: Distances | DistanceTables | None = None
