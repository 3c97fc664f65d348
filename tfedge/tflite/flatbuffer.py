"""Reads, joins and writes .tflite models as trees of objects, with LiteRT's schema and tools.

TFLiteConverter quantises every signature by itself, so a file with four lengths has every weight
four times. Equal bytes are equal weights: one copy serves all.
"""

from __future__ import annotations

import copy
import importlib
import struct
from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np

from tfedge.errors import InputError, MissingPackageError

MODEL_IDENTIFIER = b"TFL3"
# TFLite's schema demands this of buffers; kernels load whole vectors from them.
_BUFFER_ALIGNMENT = 16
# Operators whose weights XNNPACK lays out anew.
_LAID_OUT = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL")


def tools() -> Any:
    """LiteRT's module for flatbuffers; its `schema_fb` is the schema. Raises MissingPackageError
    where ai-edge-litert is not installed."""
    try:
        return importlib.import_module("ai_edge_litert.tools.flatbuffer_utils")
    except ImportError as error:
        raise MissingPackageError(
            f"reading a model needs ai-edge-litert ({error}): `pip install ai-edge-litert flatbuffers`"
        ) from error


def parse(content: bytes) -> tuple[Any, Any]:
    """The model as a tree of objects, and the schema module that made it; raises as `tools`, and
    InputError where it is no TensorFlow Lite model, or one that this cannot write again."""
    if content[4:8] != MODEL_IDENTIFIER:
        raise InputError("not a TensorFlow Lite model; give the output of the TFLite converter")
    litert = tools()
    try:
        tree = litert.convert_bytearray_to_object(content)
    # flatbuffers follows offsets wherever they lead.
    except (struct.error, ValueError, TypeError, IndexError) as error:
        raise InputError(f"a damaged TensorFlow Lite model: {error}; convert it again") from error
    if any(buffer.offset > 1 for buffer in tree.buffers):
        # Offsets count from the file's beginning, and rewriting the model would move them.
        raise InputError(
            "the model is larger than 2 GB and keeps its weights outside the flatbuffer"
        )
    return tree, litert.schema_fb


def text(value: bytes | str) -> str:
    """A string of the tree, which are bytes where a model has been read."""
    return value.decode() if isinstance(value, bytes) else value


class _Builder(flatbuffers.Builder):
    """Aligns weights, which Python's builder, and LiteRT's tools with it, put at multiples of 4."""

    def CreateNumpyVector(self, x: Any) -> Any:
        if x.dtype.itemsize == 1:
            self.Prep(_BUFFER_ALIGNMENT, x.size)
        return super().CreateNumpyVector(x)


def pack(tree: Any) -> bytes:
    """The flatbuffer of a tree of objects, equal weights shared as `tell_apart` has it."""
    share(tree)
    tell_apart(tree)
    builder = _Builder(1 << 20)
    builder.Finish(tree.Pack(builder), MODEL_IDENTIFIER)
    return bytes(builder.Output())


def share(tree: Any) -> None:
    """Merges equal buffers and equal quantisation parameters of a model's object tree, in place."""
    kept: list[Any] = []
    index_of: dict[bytes, int] = {}
    new_index = []
    for buffer in tree.buffers:
        # The first buffer is the empty one, by TFLite's schema.
        content = _bytes(buffer.data) or b""
        if content not in index_of:
            index_of[content] = len(kept)
            kept.append(buffer)
        new_index.append(index_of[content])
    tree.buffers = kept
    for entry in _referring(tree):
        entry.buffer = new_index[entry.buffer]
    shared: dict[tuple[Any, ...], _Shared] = {}
    for subgraph in tree.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.quantization is not None:
                key = _key(tensor.quantization)
                tensor.quantization = shared.setdefault(key, _Shared(tensor.quantization))


def tell_apart(tree: Any) -> None:
    """Gives operators that share weights and biases, but not their scales, biases of their own, or
    weights where they have no bias; of a tree that has been shared, in place.

    XNNPACK's cache knows what it has laid out by the addresses of weights and biases, and lays the
    scales out with them: of two operators with one address the second would get the scales of the
    first.
    """
    kinds = [tools().get_builtin_code_from_operator_code(code) for code in tree.operatorCodes]
    laid_out = {getattr(tools().schema_fb.BuiltinOperator, name) for name in _LAID_OUT}
    first: dict[tuple[int, ...], tuple[Any, ...]] = {}
    copies: dict[tuple[Any, ...], int] = {}
    for subgraph in tree.subgraphs:
        for operator in subgraph.operators or ():
            if (kind := kinds[operator.opcodeIndex]) not in laid_out:
                continue
            read, *constants = (subgraph.tensors[index] for index in operator.inputs if index >= 0)
            buffers = tuple(tensor.buffer for tensor in constants)
            scaled = (read, constants[0], subgraph.tensors[operator.outputs[0]])
            use = (kind, tuple(constants[0].shape), *(id(end.quantization) for end in scaled))
            if tree.buffers[buffers[-1]].data is None or first.setdefault(buffers, use) == use:
                continue
            if (buffers, use) not in copies:
                copies[buffers, use] = len(tree.buffers)
                tree.buffers.append(copy.copy(tree.buffers[buffers[-1]]))
            own = copy.copy(constants[-1])  # others may read the same tensor
            own.buffer = copies[buffers, use]
            operator.inputs = np.array(operator.inputs, np.int32)
            operator.inputs[len(constants)] = len(subgraph.tensors)
            subgraph.tensors.append(own)


def drop_unused(tree: Any) -> None:
    """Empties the buffers of a model's object tree that nothing refers to any more, in place."""
    used = {entry.buffer for entry in _referring(tree)}
    for index, buffer in enumerate(tree.buffers):
        if index not in used:
            buffer.data = None


def _referring(tree: Any) -> list[Any]:
    """All that refers to a buffer."""
    tensors = [tensor for subgraph in tree.subgraphs for tensor in subgraph.tensors]
    return [*tensors, *(tree.metadata or ())]


class _Shared:
    """A table that is written once, however many refer to it."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._offset: int | None = None

    def Pack(self, builder: Any) -> int:
        """What the generated classes call to write a table; returns where it is."""
        if self._offset is None:
            self._offset = int(self._table.Pack(builder))
        return self._offset


def _key(quantization: Any) -> tuple[Any, ...]:
    """Equal for equal parameters."""
    fields = (quantization.scale, quantization.zeroPoint, quantization.min, quantization.max)
    # Details of other schemes than one scale a channel are objects: shared only with themselves.
    details = id(quantization.details) if quantization.details is not None else None
    return (*map(_bytes, fields), quantization.quantizedDimension, details)


def _bytes(values: Any) -> bytes | None:
    return None if values is None else np.asarray(values).tobytes()


def merge(models: Mapping[str, bytes]) -> bytes:
    """One model with the graphs of several; equal weights are there once.

    TFLiteConverter 2.21 calibrates only the first of several signatures for 16-bit activations, and
    gives the tensors of the others scales that are no numbers: those are converted one by one.
    Raises InputError where one of them is no TensorFlow Lite model, or has more than one graph.

    Args:
        models: .tflite of one graph and one signature each, by the key that the signature gets.
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
