"""Puts models that were converted one by one into one file, a signature each.

TFLiteConverter 2.21 calibrates only the first of several signatures for 16-bit activations, and
gives the tensors of the others scales that are no numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfedge.errors import InputError
from tfedge.tflite.flatbuffer import pack, parse, text


def merge(models: Mapping[str, bytes]) -> bytes:
    """One model with the graphs of several; equal weights are there once.

    Args:
        models: .tflite of one graph and one signature each, by the key that the signature gets.

    Raises:
        InputError: one of them is no TensorFlow Lite model, or has more than one graph.
    """
    merged: Any = None
    for key, content in models.items():
        tree, _ = parse(content)
        if len(tree.subgraphs) != 1 or len(tree.signatureDefs or ()) != 1:
            raise InputError(
                f"the model for signature {key!r} has {len(tree.subgraphs)} graphs and "
                f"{len(tree.signatureDefs or ())} signatures; convert one graph at a time"
            )
        tree.signatureDefs[0].signatureKey = key
        if merged is None:
            merged = tree
        else:
            _append(merged, tree)
    if merged is None:
        raise InputError("no models to merge; give at least one")
    return pack(merged)


def _append(merged: Any, tree: Any) -> None:
    """Adds the graph, the signature and all that they refer to."""
    codes, buffers = len(merged.operatorCodes), len(merged.buffers)
    (subgraph,), (signature,) = tree.subgraphs, tree.signatureDefs
    for operator in subgraph.operators:
        operator.opcodeIndex += codes
    for tensor in subgraph.tensors:
        tensor.buffer += buffers
    subgraph.name = text(signature.signatureKey)
    signature.subgraphIndex = len(merged.subgraphs)
    merged.operatorCodes += tree.operatorCodes
    merged.buffers += tree.buffers
    merged.subgraphs.append(subgraph)
    merged.signatureDefs.append(signature)
