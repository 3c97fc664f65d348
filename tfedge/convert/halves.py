"""Keeps the large constants of a .tflite that computes in floating point in 16 bits.

TFLiteConverter makes 16 bits of all constants. tflite-runtime 2.14 gives its fast kernels the
unpacked values of those that are added or multiplied, and frees them when it comes to the next
signature: a file with several answers wrongly. Weights of dense layers are copied in time, and
tables are not given away, so that these alone are made smaller here; the others weigh nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfedge.convert.metadata import pack, parse
from tfedge.convert.share import drop_unused

# Constants with fewer numbers stay as they are.
_LEAST_NUMBERS = 1024


def halve_weights(content: bytes) -> bytes:
    """Rounds float constants of FULLY_CONNECTED and GATHER operators to float16.

    Each is read through a DEQUANTIZE, which runtimes execute once. What does not fit into float16
    (beyond 65504), and what other operators read too, stays.

    Args:
        content: a .tflite.

    Raises:
        InputError: `content` is no TensorFlow Lite model.
    """
    tree, schema = parse(content)
    builtin = schema.BuiltinOperator
    slots = {builtin.FULLY_CONNECTED: 1, builtin.GATHER: 0}
    code = _dequantize_code(tree, schema)
    halves: dict[int, int] = {}
    for subgraph in tree.subgraphs:
        added = []
        for index in _read_by(tree, subgraph, slots):
            tensor = subgraph.tensors[index]
            half = _half_of(tree, schema, tensor, halves)
            if half is not None:
                added.append(_unpack(subgraph, schema, code, index, half))
        subgraph.operators = [*added, *subgraph.operators]
    drop_unused(tree)
    return pack(tree)


def _read_by(tree: Any, subgraph: Any, slots: dict[int, int]) -> list[int]:
    """The tensors that operators of some kinds read as the input given, and no other operator."""
    found: dict[int, bool] = {}
    for operator in subgraph.operators:
        code = tree.operatorCodes[operator.opcodeIndex]
        slot = slots.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        for position, index in enumerate(operator.inputs):
            found[int(index)] = found.get(int(index), True) and position == slot
    return [index for index, fits in found.items() if fits and index not in subgraph.outputs]


def _half_of(tree: Any, schema: Any, tensor: Any, halves: dict[int, int]) -> int | None:
    """The buffer with a constant's values in float16; None where it is to stay.

    Args:
        halves: the buffers already made, by those they were made of.
    """
    data = tree.buffers[tensor.buffer].data
    if data is None or tensor.type != schema.TensorType.FLOAT32:
        return None
    if tensor.buffer not in halves:
        values = np.asarray(data, np.uint8).view(np.float32)
        if values.size < _LEAST_NUMBERS or not np.abs(values).max() <= np.finfo(np.float16).max:
            return None
        buffer = schema.BufferT()
        buffer.data = values.astype(np.float16).view(np.uint8)
        halves[tensor.buffer] = len(tree.buffers)
        tree.buffers.append(buffer)
    return halves[tensor.buffer]


def _unpack(subgraph: Any, schema: Any, code: int, index: int, half: int) -> Any:
    """The operator that makes float32 of a constant in float16; tensor `index` is its result."""
    tensor = subgraph.tensors[index]
    constant = schema.TensorT()
    constant.name = tensor.name
    constant.shape = tensor.shape
    constant.type = schema.TensorType.FLOAT16
    constant.buffer = half
    tensor.buffer = 0  # the empty one, by TFLite's schema
    subgraph.tensors.append(constant)
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs = np.array([len(subgraph.tensors) - 1], np.int32)
    operator.outputs = np.array([index], np.int32)
    return operator


def _dequantize_code(tree: Any, schema: Any) -> int:
    """The index of a new entry for DEQUANTIZE."""
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 3  # the first that reads float16
    tree.operatorCodes.append(code)
    return len(tree.operatorCodes) - 1
