"""How an encoder's tensors are added up: what can only be scaled together."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Stream:
    """Tensors that are added up and so can only be scaled together, channel by channel.

    Attributes:
        name: of the stream; of one that ends in a norm, the norm's.
        writers: the tables, dense layers and norms whose outputs are in it; of a residual connection
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


def residual(source: str, readers: tuple[str, ...], dense: str, total: str, norm: str) -> Stream:
    """The stream of one residual connection between norms.

    norm -> (readers ...) -> dense, dense + norm's output -> next norm.

    Args:
        source: the norm whose output the connection carries.
        readers: the dense layers that read that output too.
        dense: the dense layer whose output is added to it.
        total: the sum.
        norm: what normalises the sum.
    """
    return Stream(norm, (source, dense), (total,), (norm,), readers, dense)
