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
# The first versions of FULLY_CONNECTED with weights of 4 bits, of CONV_2D with 8 bits and one scale a
# row beside a float input, and of GATHER and DEQUANTIZE of int8.
_DENSE_VERSION = 9
_CONVOLUTION_VERSION = 5
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

    Args:
        dense: rounds the weights (outputs, inputs) of a FULLY_CONNECTED. With 8 bits it becomes a
            CONV_2D of 1 x 1, for which tflite-runtime 2.14 too knows a scale a row.
        table: rounds a table (rows, channels) from which a GATHER takes rows, to 8 bits. None leaves
            tables.

    Raises:
        InputError: `content` is no TensorFlow Lite model.
        ValueError: `table` gives 4 bits, which no GATHER reads.
    """
    rewriter = _Rewriter(content)
    builtin = rewriter.schema.BuiltinOperator
    for subgraph in rewriter.tree.subgraphs:
        rewriter.quantize_constants(subgraph, builtin.FULLY_CONNECTED, 1, dense)
        if table is not None:
            rewriter.quantize_constants(subgraph, builtin.GATHER, 0, table)
        rewriter.rewrite(subgraph)
    return rewriter.content()


class _Rewriter(Editor):
    """Rounds constants of one model, every one once, however many read it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        # The rounded constant and its new buffer by the old one; the constant by the tensor.
        self._by_buffer: dict[int, tuple[RoundedRows, int] | None] = {}
        self._by_tensor: dict[int, RoundedRows] = {}
        # Of the graph that is being rewritten: from a tensor to that which it is another shape of, and
        # from that and a number of columns to the one of (rows, 1, 1, columns).
        self._origins: dict[int, int] = {}
        self._batches: dict[tuple[int, int], int] = {}

    def quantize_constants(self, subgraph: Any, kind: int, slot: int, rounding: Rounding) -> None:
        """Makes integers of what operators of a kind, and no others, read as input `slot`."""
        for operator in self.sole_readers(subgraph, kind, slot):
            if self._is_readable(subgraph, operator):
                self._quantize(subgraph.tensors[operator.inputs[slot]], rounding)

    def rewrite(self, subgraph: Any) -> None:
        """Makes operators of integers of those whose constants have become such."""
        self._origins, self._batches = {}, {}
        found = [
            item for operator in subgraph.operators for item in self._adapt(subgraph, operator)
        ]
        read = {int(index) for operator in found for index in operator.inputs} | set(
            subgraph.outputs
        )
        reshape = self.schema.BuiltinOperator.RESHAPE
        subgraph.operators = [
            operator
            for operator in found
            if self.kind(operator) != reshape or operator.outputs[0] in read
        ]

    def _adapt(self, subgraph: Any, operator: Any) -> list[Any]:
        """The operators in the place of one."""
        kind, builtin = self.kind(operator), self.schema.BuiltinOperator
        if kind in (builtin.RESHAPE, builtin.GELU):
            return self._follow(subgraph, operator)
        slot = {builtin.FULLY_CONNECTED: 1, builtin.GATHER: 0}.get(kind)
        constant = None if slot is None else subgraph.tensors[operator.inputs[slot]]
        rounded = self._by_tensor.get(id(constant))
        if rounded is None:
            return [operator]
        if kind == builtin.GATHER:
            return self._gather(subgraph, operator, rounded)
        if rounded.bits == 8:
            return self._convolve(subgraph, operator, rounded)
        operator.opcodeIndex = self.code(kind, _DENSE_VERSION)
        operator.builtinOptions.asymmetricQuantizeInputs = True
        return [operator]

    def _is_readable(self, subgraph: Any, operator: Any) -> bool:
        """Whether the operator has a kernel for a float input, or a table, and integers."""
        first = subgraph.tensors[operator.inputs[0]]
        if self.kind(operator) == self.schema.BuiltinOperator.FULLY_CONNECTED:
            return self.is_float(first)
        options = operator.builtinOptions
        return len(first.shape) == 2 and options.axis == 0 and not options.batchDims

    def _gather(self, subgraph: Any, operator: Any, rounded: RoundedRows) -> list[Any]:
        """A GATHER of integers and one of their scales, and the product of both."""
        builtin, types = self.schema.BuiltinOperator, self.schema.TensorType
        table, ids = (int(index) for index in operator.inputs[:2])
        result = int(operator.outputs[0])
        name, shape = text(subgraph.tensors[result].name), list(subgraph.tensors[result].shape)
        if rounded.bits != 8:
            raise ValueError(f"tables have 8 bits, and {name!r} would have {rounded.bits}")
        column = self.add_buffer(rounded.scales)
        scales = self.add_tensor(
            subgraph, f"{name}_scales", [len(rounded.scales), 1], types.FLOAT32, column
        )
        scale = self.add_tensor(subgraph, f"{name}_scale", [*shape[:-1], 1], types.FLOAT32)
        integers = self.add_tensor(subgraph, f"{name}_integers", shape, types.INT8)
        real = self.add_tensor(subgraph, f"{name}_unscaled", shape, types.FLOAT32)
        for index in (table, integers):
            subgraph.tensors[index].quantization = self._steps(np.ones(1, np.float32))
        gather = self.schema.GatherOptionsT()
        return [
            self.operator(builtin.GATHER, _GATHER_VERSION, [table, ids], integers, gather),
            self.operator(builtin.DEQUANTIZE, _DEQUANTIZE_VERSION, [integers], real),
            self.operator(builtin.GATHER, 1, [scales, ids], scale, gather),
            self.operator(builtin.MUL, 1, [real, scale], result, self.schema.MulOptionsT()),
        ]

    def _convolve(self, subgraph: Any, dense: Any, rounded: RoundedRows) -> list[Any]:
        """A CONV_2D for a FULLY_CONNECTED.

        Each row of the input is a batch, as a convolution rounds batches where a dense layer rounds
        rows.
        """
        units, columns = rounded.integers.shape
        (x, weights, *rest), result = map(int, dense.inputs), int(dense.outputs[0])
        before, read = self._as_batches(subgraph, x, columns)
        bias = rest[0] if rest and rest[0] >= 0 else self._no_bias(subgraph, units)
        subgraph.tensors[weights].shape = np.array([units, 1, 1, columns], np.int32)
        options = self.schema.Conv2DOptionsT(
            padding=self.schema.Padding.VALID,
            strideH=1,
            strideW=1,
            fusedActivationFunction=dense.builtinOptions.fusedActivationFunction,
        )
        kind, inputs = self.schema.BuiltinOperator.CONV_2D, [read, weights, bias]
        convolution = self.operator(kind, _CONVOLUTION_VERSION, inputs, result, options)
        return [*before, *self._in_batches(subgraph, convolution, read, units)]

    def _no_bias(self, subgraph: Any, units: int) -> int:
        zeros = self.add_buffer(np.zeros(units, np.float32))
        return self.add_tensor(subgraph, "zeros", [units], self.schema.TensorType.FLOAT32, zeros)

    def _as_batches(self, subgraph: Any, tensor: int, columns: int) -> tuple[list[Any], int]:
        """A tensor (..., columns) as (rows, 1, 1, columns), and what makes that of it."""
        origin = self._origins.get(tensor, tensor)
        if (origin, columns) in self._batches:
            return [], self._batches[origin, columns]
        found = subgraph.tensors[origin]
        shape = [int(np.prod(found.shape)) // columns, 1, 1, columns]
        made = self.add_tensor(subgraph, f"{text(found.name)}_batches", shape, found.type)
        self._batches[origin, columns] = made
        return [self._reshape(subgraph, origin, made)], made

    def _in_batches(self, subgraph: Any, operator: Any, read: int, columns: int) -> list[Any]:
        """An operator that reads (rows, 1, 1, ...) and makes (rows, 1, 1, columns), and what gives
        its result the shape that others expect."""
        result = int(operator.outputs[0])
        shape = [int(subgraph.tensors[read].shape[0]), 1, 1, columns]
        name = f"{text(subgraph.tensors[result].name)}_batches"
        made = self.add_tensor(subgraph, name, shape, self.schema.TensorType.FLOAT32)
        operator.outputs = np.array([made], np.int32)
        self._origins[result] = self._batches[made, columns] = made
        return [operator, self._reshape(subgraph, made, result)]

    def _follow(self, subgraph: Any, operator: Any) -> list[Any]:
        """A RESHAPE or GELU that reads what its input is another shape of."""
        (x, *rest), result = map(int, operator.inputs), int(operator.outputs[0])
        origin = self._origins.get(x, x)
        if self.kind(operator) == self.schema.BuiltinOperator.RESHAPE:
            operator.inputs = np.array([origin, *rest], np.int32)
            self._origins[result] = origin
            return [operator]
        columns = int(subgraph.tensors[x].shape[-1])
        if self._batches.get((origin, columns)) != origin:
            return [operator]
        operator.inputs = np.array([origin], np.int32)
        return self._in_batches(subgraph, operator, origin, columns)

    def _steps(self, scales: np.ndarray) -> Any:
        """What a tensor of symmetric integers stands for."""
        zeros = np.zeros(len(scales), np.int64)
        return self.schema.QuantizationParametersT(scale=scales, zeroPoint=zeros)

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
        tensor.quantization = self._steps(rounded.scales)

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
