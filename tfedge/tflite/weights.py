"""Quantises the weights of a .tflite that computes in floating point ("dynamic range").

TFLiteConverter does so for a whole model or not at all, only to 8 bits and from minimum to maximum.
The kernels round each row of their input to 8 bits while they run, multiply integers, and give
floating point.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from tfedge.quantize.weights import RoundedRows
from tfedge.tflite.edit import Editor
from tfedge.tflite.flatbuffer import text

# Smaller than what the 4-bit kernels take at once: tflite-runtime 2.14 has other kernels for that,
# which know no scale a row and answer wrongly.
_LEAST_ROWS = 4
_LEAST_COLUMNS = 32
# Versions of FULLY_CONNECTED. The second is the first that tells a runtime of one scale a row of 8
# bits: older kernels run such weights, wrongly. One a row of 4 bits they have known from their
# beginning.
_DENSE_VERSION = 9
_DENSE_VERSION_8_BITS_PER_ROW = 12
# The first versions of EMBEDDING_LOOKUP with one scale a row, and of GATHER and DEQUANTIZE of int8.
_LOOKUP_VERSION = 4
_GATHER_VERSION = 2
_DEQUANTIZE_VERSION = 2

# From the name and the values (rows, columns) of a constant to its integers, or None to leave it.
Rounding = Callable[[str, np.ndarray], RoundedRows | None]


def layer_of(tensor_name: str, layers: Collection[str]) -> str | None:
    """Which of `layers` a tensor of a converted Keras model belongs to, by its name.

    The converter joins the names of fused operators by `;`, each `model/layer/operation`.
    """
    parts = re.split("[/;]", tensor_name)
    return next((part for part in parts if part in layers), None)


def dense_inputs(content: bytes) -> dict[str, int]:
    """What the constant weights of the first subgraph are multiplied with.

    The inputs of a dense layer are not those of the model that was converted: the converter moves
    gains of layer norms into the weights.

    Returns:
        From the name of the weights of each FULLY_CONNECTED with a float input to the index of the
        tensor of its input.
    """
    editor = Editor(content)
    subgraph = editor.tree.subgraphs[0]
    tensors = subgraph.tensors
    return {
        text(tensors[operator.inputs[1]].name): int(operator.inputs[0])
        for operator in subgraph.operators
        if editor.kind(operator) == editor.schema.BuiltinOperator.FULLY_CONNECTED
        and editor.is_float(tensors[operator.inputs[0]])
        and editor.constant(tensors[operator.inputs[1]]) is not None
    }


def quantize_weights(content: bytes, dense: Rounding, table: Rounding | None = None) -> bytes:
    """Quantises constants of FULLY_CONNECTED and GATHER operators that compute in float.

    Left as they are, whatever `dense` says: constants that other operators read too, and weights of
    4 bits with fewer than 4 rows or 32 columns or an odd number of columns, which not all runtimes
    can compute.

    tflite-runtime 2.14 runs weights of 4 bits, and of 8 bits with one scale; tables of 8 bits with
    one scale.

    Args:
        dense: rounds the weights (outputs, inputs) of a FULLY_CONNECTED.
        table: rounds a table (rows, channels) from which a GATHER takes rows: to 8 bits with one
            scale, or to 4 or 8 with one scale a row (the operator becomes an EMBEDDING_LOOKUP).
            None leaves tables.

    Raises:
        InputError: `content` is no TensorFlow Lite model.
        ValueError: `table` gives 4 bits with one scale, which no operator reads.
    """
    rewriter = _Rewriter(content)
    builtin = rewriter.schema.BuiltinOperator
    for subgraph in rewriter.tree.subgraphs:
        rewriter.quantize_constants(subgraph, builtin.FULLY_CONNECTED, 1, dense)
        if table is not None:
            rewriter.quantize_constants(subgraph, builtin.GATHER, 0, table)
        subgraph.operators = [
            item for operator in subgraph.operators for item in rewriter.adapt(subgraph, operator)
        ]
    return rewriter.content()


class _Rewriter(Editor):
    """Rounds constants of one model, every one once, however many read it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        # The rounded constant and its new buffer by the old one; the constant by the tensor.
        self._by_buffer: dict[int, tuple[RoundedRows, int] | None] = {}
        self._by_tensor: dict[int, RoundedRows] = {}

    def quantize_constants(self, subgraph: Any, kind: int, slot: int, rounding: Rounding) -> None:
        """Makes integers of what operators of a kind, and no others, read as input `slot`."""
        for operator in self.sole_readers(subgraph, kind, slot):
            if self._is_readable(subgraph, operator):
                self._quantize(subgraph.tensors[operator.inputs[slot]], rounding)

    def adapt(self, subgraph: Any, operator: Any) -> list[Any]:
        """The operators in the place of one, some of whose constants may have become integers."""
        kind, dense = self.kind(operator), self.schema.BuiltinOperator.FULLY_CONNECTED
        slot = {dense: 1, self.schema.BuiltinOperator.GATHER: 0}.get(kind)
        if slot is None:
            return [operator]
        constant = subgraph.tensors[operator.inputs[slot]]
        rounded = self._by_tensor.get(id(constant))
        if rounded is None:
            return [operator]
        is_per_row = len(rounded.scales) > 1
        if kind == dense:
            is_new = is_per_row and rounded.bits == 8
            version = _DENSE_VERSION_8_BITS_PER_ROW if is_new else _DENSE_VERSION
            operator.opcodeIndex = self.code(kind, version)
            operator.builtinOptions.asymmetricQuantizeInputs = True
            return [operator]
        if is_per_row:
            return self._look_up(subgraph, operator)
        if rounded.bits != 8:
            raise ValueError(f"table {text(constant.name)!r} of 4 bits needs one scale a row")
        return self._gather(subgraph, operator, constant)

    def _is_readable(self, subgraph: Any, operator: Any) -> bool:
        """Whether the operator has a kernel for a float input, or a table, and integers."""
        first = subgraph.tensors[operator.inputs[0]]
        if self.kind(operator) == self.schema.BuiltinOperator.FULLY_CONNECTED:
            return self.is_float(first)
        options = operator.builtinOptions
        return len(first.shape) == 2 and options.axis == 0 and not options.batchDims

    def _gather(self, subgraph: Any, operator: Any, table: Any) -> list[Any]:
        """A GATHER of integers and what makes them real."""
        builtin = self.schema.BuiltinOperator
        result = operator.outputs[0]
        target = subgraph.tensors[result]
        rows = self.add_tensor(
            subgraph, f"{text(target.name)}/integers", list(target.shape), table.type
        )
        subgraph.tensors[rows].quantization = table.quantization
        operator.opcodeIndex = self.code(builtin.GATHER, _GATHER_VERSION)
        operator.outputs = np.array([rows], np.int32)
        back = self.operator(builtin.DEQUANTIZE, _DEQUANTIZE_VERSION, [rows], result)
        return [operator, back]

    def _look_up(self, subgraph: Any, operator: Any) -> list[Any]:
        """An EMBEDDING_LOOKUP in the place of a GATHER; it takes a vector of ids."""
        table, ids = operator.inputs[:2]
        result = operator.outputs[0]
        name = text(subgraph.tensors[result].name)
        count = int(np.prod(subgraph.tensors[ids].shape))
        channels = int(subgraph.tensors[table].shape[1])
        types = self.schema.TensorType
        flat = self.add_tensor(subgraph, f"{name}/ids", [count], subgraph.tensors[ids].type)
        rows = self.add_tensor(subgraph, f"{name}/rows", [count, channels], types.FLOAT32)
        kind = self.schema.BuiltinOperator.EMBEDDING_LOOKUP
        return [
            self._reshape(subgraph, ids, flat),
            self.operator(kind, _LOOKUP_VERSION, [flat, table], rows),
            self._reshape(subgraph, rows, result),
        ]

    def _quantize(self, tensor: Any, rounding: Rounding) -> None:
        """Makes a float constant one of integers. Its old buffer stays for those that share it."""
        values = self.constant(tensor)
        if values is None:
            return
        if tensor.buffer not in self._by_buffer:
            rounded = rounding(text(tensor.name), values)
            if rounded is not None and _is_computable(rounded):
                self._by_buffer[tensor.buffer] = (rounded, self.add_buffer(_packed(rounded)))
            else:
                self._by_buffer[tensor.buffer] = None
        found = self._by_buffer[tensor.buffer]
        if found is None:
            return
        rounded, tensor.buffer = found
        self._by_tensor[id(tensor)] = rounded
        types = {4: self.schema.TensorType.INT4, 8: self.schema.TensorType.INT8}
        tensor.type = types[rounded.bits]
        tensor.quantization = self.schema.QuantizationParametersT(
            scale=rounded.scales, zeroPoint=np.zeros(len(rounded.scales), np.int64)
        )

    def _reshape(self, subgraph: Any, source: int, target: int) -> Any:
        schema = self.schema
        shape = np.asarray(subgraph.tensors[target].shape, np.int32)
        name = f"{text(subgraph.tensors[target].name)}/shape"
        constant = self.add_tensor(
            subgraph, name, [len(shape)], schema.TensorType.INT32, self.add_buffer(shape)
        )
        return self.operator(schema.BuiltinOperator.RESHAPE, 1, [source, constant], target)


def _is_computable(rounded: RoundedRows) -> bool:
    rows, columns = rounded.integers.shape
    if rounded.bits == 8:
        return True
    return rows >= _LEAST_ROWS and columns >= _LEAST_COLUMNS and columns % 2 == 0


def _packed(rounded: RoundedRows) -> np.ndarray:
    """The bytes of a buffer; of 4-bit integers two a byte, the first one in the lower half."""
    data = np.ascontiguousarray(rounded.integers).ravel().view(np.uint8)
    if rounded.bits == 8:
        return data
    nibbles = np.zeros(len(data) + len(data) % 2, np.uint8)
    nibbles[: len(data)] = data & 0x0F
    return nibbles[0::2] | nibbles[1::2] << 4
