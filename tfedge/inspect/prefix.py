"""Writes the beginnings of a graph as graphs of their own, so that a runtime can time each part.

No runtime's Python tells what an operator takes. A graph that ends after a part, less one that ends
before it, does, with the kernels, the threads and the delegate that the whole one has.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.errors import InputError
from tfedge.inspect.graph import EDGETPU_OPERATOR, ModelFile, Signature
from tfedge.tflite.edit import Editor

_CALLS = frozenset(("CALL", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_COMPOSITE", "STABLEHLO_WHILE"))


def write_prefixes(
    model: ModelFile, signature: Signature, ends: Sequence[int], path: Path
) -> list[str]:
    """Writes one .tflite with a graph for each of `ends`, sharing their weights.

    Args:
        ends: how many operators of the signature's graph each has, from the first.

    Returns:
        The keys of their signatures, which take the inputs of `signature` and put out all that the
        rest of the graph reads.

    Raises:
        InputError: a graph calls others, is compiled for a device, or cannot be read.
    """
    operators = model.subgraphs[signature.subgraph].operators
    whole = {operator.name for operator in operators} & {*_CALLS, EDGETPU_OPERATOR}
    if whole:
        raise InputError(
            f"{model.path}: {', '.join(sorted(whole))} is one operator of many, which cannot be "
            "timed part by part"
        )
    editor = Editor(Path(model.path).read_bytes())
    graph = editor.tree.subgraphs[signature.subgraph]
    definition = next(
        item for item in editor.tree.signatureDefs if item.subgraphIndex == signature.subgraph
    )
    graphs = [_prefix(graph, end) for end in ends]
    keys = [f"part_{index}" for index in range(len(ends))]
    editor.tree.subgraphs = graphs
    editor.tree.signatureDefs = [
        _signature(editor.schema, definition, key, index, graphs[index])
        for index, key in enumerate(keys)
    ]
    editor.tree.metadata = editor.tree.metadataBuffer = None
    path.write_bytes(editor.content())
    return keys


def _prefix(graph: Any, end: int) -> Any:
    """The first `end` operators, which put out what the others read of them, and the outputs."""
    made = copy.copy(graph)
    # Packing writes into tensors; the constants themselves are shared.
    made.tensors = [copy.copy(tensor) for tensor in graph.tensors]
    made.operators = graph.operators[:end]
    written = {int(index) for item in made.operators for index in item.outputs}
    rest = {int(index) for item in graph.operators[end:] for index in item.inputs}
    made.outputs = np.array(sorted(written & (rest | set(map(int, graph.outputs)))), np.int32)
    return made


def _signature(schema: Any, definition: Any, key: str, index: int, graph: Any) -> Any:
    made = copy.copy(definition)
    made.signatureKey, made.subgraphIndex = key, index
    made.outputs = []
    for number, tensor in enumerate(graph.outputs):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = f"output_{number}", int(tensor)
        made.outputs.append(entry)
    return made
