"""Quantises the weights of dense layers that compute in floating point ("dynamic range").

TFLiteConverter does so for a whole model or not at all, and only to 8 bits. The kernel rounds each
row of the input to 8 bits while it runs, multiplies integers, and gives floating point.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from tfedge.convert.metadata import pack, parse, text

# Candidates for a row's largest value that is not clipped, as a share of its peak.
_SHARES = np.linspace(0.5, 1.0, 26, dtype=np.float32)
# Of FULLY_CONNECTED: the first with one scale a row for float inputs.
_VERSION = 12


def quantize_rows(weights: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Rounds each row to symmetric integers with the scale of least squared error.

    Args:
        weights: (rows, columns), float32.
        bits: 4 or 8.

    Returns:
        Integers (rows, columns), int8, and scales (rows,), float32.
    """
    top = 2 ** (bits - 1) - 1
    peaks = np.maximum(np.abs(weights).max(axis=1), np.finfo(np.float32).tiny)
    best_error = np.full(len(weights), np.inf)
    scales = peaks / top
    for share in _SHARES:
        candidate = share * peaks / top
        rounded = np.clip(np.rint(weights / candidate[:, None]), -top, top) * candidate[:, None]
        error = ((rounded - weights) ** 2).sum(axis=1)
        scales = np.where(error < best_error, candidate, scales)
        best_error = np.minimum(error, best_error)
    integers = np.clip(np.rint(weights / scales[:, None]), -top, top).astype(np.int8)
    return integers, scales.astype(np.float32)


def layer_of(tensor_name: str, layers: Collection[str]) -> str | None:
    """Which of `layers` a tensor of a converted Keras model belongs to, by its name.

    The converter joins the names of fused operators by `;`, each `model/layer/operation`.
    """
    parts = re.split("[/;]", tensor_name)
    return next((part for part in parts if part in layers), None)


def quantize_weights(content: bytes, bits_of: Callable[[str], int | None]) -> bytes:
    """Quantises weights of FULLY_CONNECTED operators with float inputs.

    Args:
        content: a .tflite.
        bits_of: from the name of a weight tensor to its bits, 4 or 8, or None to leave it.

    Raises:
        InputError: `content` is no TensorFlow Lite model.
    """
    tree, schema = parse(content)
    code = _operator_code(tree, schema)
    for subgraph in tree.subgraphs:
        for operator in subgraph.operators:
            if not _is_float_dense(tree, schema, subgraph, operator):
                continue
            tensor = subgraph.tensors[operator.inputs[1]]
            bits = bits_of(text(tensor.name))
            if bits is None:
                continue
            _quantize(tree, schema, tensor, bits)
            operator.opcodeIndex = code
            operator.builtinOptions.asymmetricQuantizeInputs = True
    _empty_unused_buffers(tree)
    return pack(tree)


def _operator_code(tree: Any, schema: Any) -> int:
    """The index of a new entry for FULLY_CONNECTED with quantised rows."""
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = _VERSION
    tree.operatorCodes.append(code)
    return len(tree.operatorCodes) - 1


def _is_float_dense(tree: Any, schema: Any, subgraph: Any, operator: Any) -> bool:
    code = tree.operatorCodes[operator.opcodeIndex]
    if max(code.builtinCode, code.deprecatedBuiltinCode) != schema.BuiltinOperator.FULLY_CONNECTED:
        return False
    data, weights = (subgraph.tensors[index] for index in operator.inputs[:2])
    float32 = schema.TensorType.FLOAT32
    return (
        data.type == float32
        and weights.type == float32
        and tree.buffers[weights.buffer].data is not None
    )


def _quantize(tree: Any, schema: Any, tensor: Any, bits: int) -> None:
    data = np.asarray(tree.buffers[tensor.buffer].data, np.uint8).view(np.float32)
    integers, scales = quantize_rows(data.reshape(tensor.shape), bits)
    # A new buffer: another tensor may share the old one.
    buffer = schema.BufferT()
    buffer.data = (_pack_nibbles(integers) if bits == 4 else integers.ravel()).view(np.uint8)
    tensor.buffer = len(tree.buffers)
    tree.buffers.append(buffer)
    tensor.type = schema.TensorType.INT4 if bits == 4 else schema.TensorType.INT8
    parameters = schema.QuantizationParametersT()
    parameters.scale = scales
    parameters.zeroPoint = np.zeros(len(scales), np.int64)
    parameters.quantizedDimension = 0
    tensor.quantization = parameters


def _empty_unused_buffers(tree: Any) -> None:
    """What only the replaced weights held; the file would keep it otherwise."""
    used = {tensor.buffer for subgraph in tree.subgraphs for tensor in subgraph.tensors}
    used |= {entry.buffer for entry in tree.metadata or ()}
    for index, buffer in enumerate(tree.buffers):
        if index not in used:
            buffer.data = None


def _pack_nibbles(integers: np.ndarray) -> np.ndarray:
    """Two 4-bit integers a byte, the first in the lower half."""
    flat = integers.ravel().astype(np.uint8) & 0x0F
    if len(flat) % 2:
        flat = np.append(flat, np.uint8(0))
    return flat[0::2] | flat[1::2] << 4
