"""Which layer a tensor belongs to, by its name, and which tensors of two files are the same layer's.

The converter names a tensor after the operations that it was fused of, `;` between, the one that
computes it first: `bert/pooler.dense/BiasAdd;bert/pooler.dense/Conv2D`. The layer is the path of
that first name without the operation.
"""

from __future__ import annotations

import re

from tfedge.inspect.graph import Signature, Subgraph

# tfedge's layers that round or clip another's output, see `tfedge.quantize.fake_quant`: what they
# put out is that layer's tensor in the other file.
_TAPS = re.compile(r"^(.*?)\.(?:quant|clip)(?:/.*)?$")


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
