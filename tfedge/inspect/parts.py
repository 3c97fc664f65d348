"""The parts of a network that its operators belong to: look-up, attention, feed-forward, head.

A part is what a person asks after: "layer 3's attention". Operators are put together by their
layers' names, up to the number of a repeated layer: `bert/encoder.layer.3.attention.self.query` is
of `encoder.layer.3.attention`, `net/block_3/mlp` of `block_3`, `bert/embeddings.LayerNorm` of
`embeddings`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from tfedge.inspect.graph import Signature, Subgraph
from tfedge.inspect.layers import layer_name

_ATTENTION = "attention"
_SEPARATORS = re.compile(r"[./]")
_REPEATED = re.compile(r"(?:layers?|blocks?|stages?|h)(?:[._-]?\d+)?", re.IGNORECASE)
_NUMBER = re.compile(r".*\d")
_MOST = 64  # parts; each is a graph of its own when it is timed


@dataclasses.dataclass(frozen=True)
class Part:
    """Operators `begin` to `end`, the latter excluded, in the order in which they run."""

    name: str
    begin: int
    end: int


def parts(subgraph: Subgraph, signature: Signature) -> list[Part]:
    """The parts of a graph in order; together they are all of its operators.

    An operator that runs among those of a later part belongs to that part, for that is when its
    time is spent.
    """
    ends = {index: name for name, index in signature.outputs.items()}
    found: list[Part] = []
    names: set[str] = set()
    for position, operator in enumerate(subgraph.operators):
        tensor = operator.outputs[0] if operator.outputs else None
        name = "" if tensor is None else ends.get(tensor) or _name(subgraph.tensors[tensor].name)
        is_new = name not in names and len(found) < _MOST
        if not found or is_new:
            found.append(Part(name, position, position + 1))
        else:
            found[-1] = dataclasses.replace(found[-1], end=position + 1)
        names.add(name)
    return found


def _name(tensor: str) -> str:
    """The part that a tensor belongs to, by its name."""
    words = _without_model(_SEPARATORS.split(layer_name(tensor)))
    for position, word in enumerate(words):
        if _NUMBER.fullmatch(word) and _repeats(words[max(0, position - 1) : position + 1]):
            is_attention = any(_ATTENTION in later for later in words[position + 1 :])
            return ".".join([*words[: position + 1], *([_ATTENTION] if is_attention else [])])
    return words[0]


def _repeats(words: Sequence[str]) -> bool:
    """Whether a number counts layers: `layer.3` and `block_3` do, `LayerNorm.1` does not."""
    return any(_REPEATED.fullmatch(word) for word in words)


def _without_model(words: Sequence[str]) -> Sequence[str]:
    """Without the first word, which names the model, where others follow."""
    return words[1:] if len(words) > 1 else words
