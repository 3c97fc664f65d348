"""How an encoder's tensors are added up: what can only be scaled together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Junction:
    """One residual connection: norm -> (readers ...) -> dense, dense + norm's output -> next norm.

    Attributes:
        source: the norm whose output the connection carries.
        readers: the dense layers that read that output too.
        dense: the dense layer whose output is added to it.
        total: the sum.
        norm: what normalises the sum.
    """

    source: str
    readers: tuple[str, ...]
    dense: str
    total: str
    norm: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where tokens enter the encoder: tables and dense layers added up, then a norm.

    Attributes:
        terms: the tables and dense layers.
        total: their sum.
        norm: what normalises the sum.
    """

    terms: tuple[str, ...]
    total: str
    norm: str


@dataclasses.dataclass(frozen=True)
class Stream:
    """Tensors that are added up and so can only be scaled together, channel by channel.

    Attributes:
        name: of the stream; of one that ends in a norm, the norm's.
        writers: the tables, dense layers and norms whose outputs are in it; where it ends in one norm
            the norm that it starts from is the first.
        totals: their sums, each read by the norm of the same place in `norms`.
        norms: what normalises the sums.
        readers: the dense layers that read it.
        dense: where the stream ends in one norm, the dense layer whose output is in it.
    """

    name: str
    writers: tuple[str, ...]
    totals: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    dense: str | None = None


def streams_between_norms(entry: Entry, junctions: Iterable[Junction]) -> list[Stream]:
    """The streams of an encoder that normalises every sum: from one norm to the next."""
    return [
        Stream(entry.norm, entry.terms, (entry.total,), (entry.norm,)),
        *(
            Stream(
                name=junction.norm,
                writers=(junction.source, junction.dense),
                totals=(junction.total,),
                norms=(junction.norm,),
                readers=junction.readers,
                dense=junction.dense,
            )
            for junction in junctions
        ),
    ]
