"""Which layer a tensor belongs to, and which part of the network, by its name.

The converter names a tensor after the operations that it was fused of, `;` between, the one that
computes it first: `bert/pooler.dense/BiasAdd;bert/pooler.dense/Conv2D`. The layer is the path of
that first name without the operation.

A part is what a person asks after, "layer 3's attention": layers up to the number of a repeated one.
`bert/encoder.layer.3.attention.self.query` is of `encoder.layer.3.attention`, `net/block_3/mlp` of
`block_3`, `bert/embeddings.LayerNorm` of `embeddings`.
"""

from __future__ import annotations

import dataclasses
import re

from tfedge.inspect.graph import Signature, Subgraph

# tfedge's layers that round or clip another's output, see `tfedge.quantize.fake_quant`: what they
# put out is that layer's tensor in the other file.
_TAPS = re.compile(r"^(.*?)\.(?:quant|clip)(?:/.*)?$")
_SEPARATORS = re.compile(r"[./]")
_REPEATED = re.compile(r"(?:layers?|blocks?|stages?|h)(?:[._-]?\d+)?", re.IGNORECASE)
_MOST = 64  # parts; each is a graph of its own when it is timed


def layer_name(tensor: str) -> str:
    """The layer of a tensor of that name; the name itself where it has no path."""
    first = next((part for part in tensor.split(";") if part), tensor)
    if match := _TAPS.match(first):
        return match[1]
    return first.rpartition("/")[0] or first


def layer_outputs(subgraph: Subgraph, signature: Signature) -> dict[str, tuple[int, int]]:
    """What each layer puts out: its last operator's first output, in the order of the layers.

    Outputs of the signature go by their names there, `logits (output)`, for converters rename
    these tensors.

    Returns:
        The index of the operator and that of the tensor, by layer.
    """
    ends = {index: f"{name} (output)" for name, index in signature.outputs.items()}
    found: dict[str, tuple[int, int]] = {}
    for position, operator in enumerate(subgraph.operators):
        for tensor in operator.outputs[:1]:
            name = ends.get(tensor) or layer_name(subgraph.tensors[tensor].name)
            found[name] = (position, tensor)
    return found


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
        name = "".join(ends.get(index, "") for index in operator.outputs[:1])
        name = name or _name(subgraph.result(operator).name)
        if not found or (name not in names and len(found) < _MOST):
            found.append(Part(name, position, position + 1))
        else:
            found[-1] = dataclasses.replace(found[-1], end=position + 1)
        names.add(name)
    return found


def _name(tensor: str) -> str:
    """The part that a tensor belongs to, by its name."""
    words = _SEPARATORS.split(layer_name(tensor))
    words = words[1:] or words  # the first names the model
    for position, word in enumerate(words):
        # A number counts layers in `layer.3` and `block_3`, not in `LayerNorm.1`.
        is_repeated = any(map(_REPEATED.fullmatch, words[max(0, position - 1) : position + 1]))
        if word[-1:].isdecimal() and is_repeated:
            is_attention = any("attention" in later for later in words[position + 1 :])
            return ".".join([*words[: position + 1], *(["attention"] if is_attention else [])])
    return words[0]
