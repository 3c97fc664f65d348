"""Takes the operators out of a converted model, one file each, also for other widths than its own.

An operator stands in its file several times, each with operands and weights of its own, so that what
an invocation costs besides is a small part of the whole.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from tfedge.inspect.cost import operator_cost
from tfedge.inspect.graph import Signature, Subgraph, read_content, read_model
from tfedge.inspect.work import kind_of, runs_each_time
from tfedge.tflite.flatbuffer import MODEL_IDENTIFIER, parse, text

_LARGE = 4_000_000  # multiply-accumulates or so, beside which an invocation is nothing
_COPIES = 8  # of a small operator
_ELEMENT = 16  # what an element of other operators is worth in them
_ROWS = 5000  # a table of embeddings is cut to; a layer has fewer channels


@dataclasses.dataclass(frozen=True)
class Widths:
    """The sizes of an encoder that its operators show, all of them different."""

    hidden: int
    intermediate: int
    heads: int
    head: int  # hidden / heads

    def to(self, other: Widths) -> dict[int, int]:
        """What each size becomes."""
        return dict(zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True))


@dataclasses.dataclass(frozen=True)
class Alone:
    """A file with one operator, several times."""

    path: Path
    kind: str
    copies: int


def take_apart(
    model: Path, lengths: Sequence[int], sizes: Mapping[int, int], folder: Path
) -> Iterator[Alone]:
    """Writes each different operator of a model's graphs into a file of its own.

    Args:
        lengths: tokens of the graphs; the one graph of images is taken whatever they are.
        sizes: what sizes of its tensors become; others stay.
    """
    facts, (tree, schema) = read_model(model), parse(model.read_bytes())
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    for signature in facts.signatures:
        graph = facts.subgraphs[signature.subgraph]
        if length_of(graph, signature) not in (*lengths, None):
            continue
        for index, operator in enumerate(graph.operators):
            if not runs_each_time(operator, graph):
                continue
            looks = _looks(graph, index, sizes)
            if looks in seen:
                continue
            seen.add(looks)
            taken = _Taken(tree, schema, tree.subgraphs[signature.subgraph], index)
            copies = _copies(graph, index, sizes)
            content = taken.alone(sizes, copies)
            path = folder / f"{len(seen):04}.tflite"
            path.write_bytes(content)
            alone = read_content(str(path), content).subgraphs[0]
            yield Alone(path, kind_of(alone.operators[0], alone), copies)


def length_of(graph: Subgraph, signature: Signature) -> int | None:
    """The tokens of a graph's texts; None of images."""
    shape = graph.tensors[next(iter(signature.inputs.values()))].shape
    return shape[1] if len(shape) == 2 else None


def _looks(graph: Subgraph, index: int, sizes: Mapping[int, int]) -> str:
    operator = graph.operators[index]
    tensors = [graph.tensors[place] if place >= 0 else None for place in operator.inputs]
    tensors += [graph.tensors[place] for place in operator.outputs]
    shown = [
        item and (item.dtype, item.constant, [sizes.get(size, size) for size in item.shape])
        for item in tensors
    ]
    values = [item.values for item in tensors if item]
    return f"{operator.name} {shown} {dict(operator.options)} {values}"


def _copies(graph: Subgraph, index: int, sizes: Mapping[int, int]) -> int:
    cost = operator_cost(graph.operators[index], graph)
    work = max(cost.macs or 0, _ELEMENT * cost.elements)
    grown = max((new / old for old, new in sizes.items()), default=1)
    return 1 if work * grown**2 > _LARGE else _COPIES


class _Taken:
    """One operator of a model's object tree, and what it reads and writes."""

    def __init__(self, tree: Any, schema: Any, graph: Any, index: int) -> None:
        self._tree, self._schema, self._graph = tree, schema, graph
        self._operator = graph.operators[index]

    def alone(self, sizes: Mapping[int, int], copies: int) -> bytes:
        """A model of `copies` of it."""
        schema, operator = self._schema, self._operator
        code = copy.copy(self._tree.operatorCodes[operator.opcodeIndex])
        made = schema.ModelT(version=3, operatorCodes=[code], buffers=[schema.BufferT()])
        graph = schema.SubGraphT(tensors=[], operators=[], inputs=[], outputs=[])
        made.subgraphs = [graph]
        for _ in range(copies):
            node = copy.copy(operator)
            node.opcodeIndex = 0
            node.builtinOptions = self._options(sizes)
            node.inputs = [
                index if index < 0 else self._add(made, int(index), sizes)
                for index in operator.inputs
            ]
            node.outputs = [self._add(made, int(index), sizes) for index in operator.outputs]
            graph.operators.append(node)
            graph.inputs += [
                index for index in node.inputs if index >= 0 and not graph.tensors[index].buffer
            ]
            graph.outputs += node.outputs
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(made.Pack(builder), MODEL_IDENTIFIER)
        return bytes(builder.Output())

    def _options(self, sizes: Mapping[int, int]) -> Any:
        """Its options, which may have a shape too."""
        options = copy.copy(self._operator.builtinOptions)
        if getattr(options, "newShape", None) is not None:
            options.newShape = [sizes.get(int(size), int(size)) for size in options.newShape]
        return options

    def _add(self, made: Any, index: int, sizes: Mapping[int, int]) -> int:
        """The place of a tensor, new in the model, that is as the operator's but for its sizes."""
        schema, graph = self._schema, made.subgraphs[0]
        old = self._graph.tensors[index]
        data = self._tree.buffers[old.buffer].data
        shape = [
            sizes.get(int(size), int(size)) for size in (() if old.shape is None else old.shape)
        ]
        if data is not None and len(shape) > 1 and shape[0] > _ROWS:
            shape[0] = _ROWS
        new = copy.copy(old)
        new.shape, new.shapeSignature, new.buffer = shape, None, 0
        new.name = f"{len(graph.tensors)}_{text(old.name)[-40:]}"
        new.quantization = _resized(old.quantization, shape)
        if data is not None:
            made.buffers.append(schema.BufferT(self._values(old, np.asarray(data), shape, sizes)))
            new.buffer = len(made.buffers) - 1
        graph.tensors.append(new)
        return len(graph.tensors) - 1

    def _values(
        self, old: Any, data: np.ndarray, shape: Sequence[int], sizes: Mapping[int, int]
    ) -> np.ndarray:
        """The bytes of a constant: repeated to its new length; of sizes, the new sizes."""
        if old.type == self._schema.TensorType.INT32 and _is_plain(old):
            values = data.astype(np.uint8).view(np.int32)
            return np.array([sizes.get(int(v), int(v)) for v in values], np.int32).view(np.uint8)
        count = math.prod(int(size) for size in old.shape) if old.shape is not None else 1
        return np.resize(data.astype(np.uint8), data.size * math.prod(shape) // max(count, 1))


def _is_plain(tensor: Any) -> bool:
    """Whether it has no scale: indices and shapes, not a bias."""
    found = tensor.quantization
    return found is None or found.scale is None or not len(found.scale)


def _resized(old: Any, shape: Sequence[int]) -> Any:
    """Scales for as many channels as there are now."""
    if old is None or old.scale is None or len(old.scale) < 2:
        return old
    new = copy.copy(old)
    channels = shape[old.quantizedDimension]
    new.scale = np.resize(old.scale, channels)
    new.zeroPoint = np.resize(old.zeroPoint, channels)
    new.min = new.max = None
    return new
