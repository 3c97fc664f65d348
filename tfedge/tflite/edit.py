"""Changes the operators and constants of a .tflite, as a tree of objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfedge.tflite.flatbuffer import drop_unused, pack, parse, text, tools

_LEAST_HALVED = 1024  # constants with fewer numbers stay as they are
_DEQUANTIZE_VERSION = 3  # the first that reads float16


class Editor:
    """The object tree of one model, and what changing it takes; raises InputError, see `parse`."""

    def __init__(self, content: bytes) -> None:
        self.tree, self.schema = parse(content)
        self._codes: dict[tuple[int, int], int] = {}

    def content(self) -> bytes:
        """The changed model, without the constants that nothing reads any more."""
        drop_unused(self.tree)
        return pack(self.tree)

    def kind(self, operator: Any) -> int:
        """The builtin operator's number."""
        code = self.tree.operatorCodes[operator.opcodeIndex]
        return int(tools().get_builtin_code_from_operator_code(code))

    def is_float(self, tensor: Any) -> bool:
        """Whether it holds float32."""
        return bool(tensor.type == self.schema.TensorType.FLOAT32)

    def constant(self, tensor: Any) -> np.ndarray | None:
        """The values of a float constant; None of any other tensor."""
        data = self.tree.buffers[tensor.buffer].data
        if data is None or not self.is_float(tensor):
            return None
        return np.asarray(data, np.uint8).view(np.float32).reshape(tensor.shape)

    def sole_readers(self, subgraph: Any, kind: int, slot: int) -> Iterator[Any]:
        """The operators of a kind whose input `slot` is not read in any other way."""
        reads = [
            (index, self.kind(operator) == kind and position == slot)
            for operator in subgraph.operators
            for position, index in enumerate(operator.inputs)
        ]
        otherwise = {index for index, fits in reads if not fits} | set(subgraph.outputs)
        for operator in subgraph.operators:
            if self.kind(operator) == kind and operator.inputs[slot] not in otherwise:
                yield operator

    def code(self, kind: int, version: int) -> int:
        """The index of the entry for an operator of this version; made if there is none."""
        if (kind, version) not in self._codes:
            self._codes[kind, version] = len(self.tree.operatorCodes)
            code = self.schema.OperatorCodeT(kind, version=version, builtinCode=kind)
            self.tree.operatorCodes.append(code)
        return self._codes[kind, version]

    def operator(
        self, kind: int, version: int, inputs: list[int], output: int, options: Any = None
    ) -> Any:
        """A new operator, not yet in a subgraph; `options` are an object of the schema."""
        ends = (np.array(indices, np.int32) for indices in (inputs, [output]))
        made = self.schema.OperatorT(self.code(kind, version), *ends)
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, name)
            made.builtinOptions = options
        return made

    def add_tensor(
        self, subgraph: Any, name: str, shape: list[int], dtype: int, buffer: int = 0
    ) -> int:
        """The index of a new tensor; the first buffer is the empty one, by TFLite's schema."""
        sizes = np.asarray(shape, np.int32)
        subgraph.tensors.append(self.schema.TensorT(sizes, dtype, buffer, name))
        return len(subgraph.tensors) - 1

    def add_buffer(self, data: np.ndarray) -> int:
        """The index of a new buffer."""
        self.tree.buffers.append(self.schema.BufferT(data.ravel().view(np.uint8)))
        return len(self.tree.buffers) - 1


def halve_weights(content: bytes) -> bytes:
    """Rounds float constants of FULLY_CONNECTED and GATHER operators to float16.

    Each is read through a DEQUANTIZE, which runtimes execute once. What does not fit into float16
    (beyond 65504), and what other operators read too, stays.

    TFLiteConverter makes 16 bits of all constants. tflite-runtime 2.14 gives its fast kernels the
    unpacked values of those that are added or multiplied, and frees them when it comes to the next
    signature: a file with several answers wrongly. Weights of dense layers are copied in time, and
    tables are not given away, so that these alone are made smaller here; the others weigh nothing.
    """
    editor = Editor(content)
    builtin = editor.schema.BuiltinOperator
    buffers: dict[int, int] = {}
    for subgraph in editor.tree.subgraphs:
        constants = dict.fromkeys(
            int(operator.inputs[slot])
            for kind, slot in ((builtin.FULLY_CONNECTED, 1), (builtin.GATHER, 0))
            for operator in editor.sole_readers(subgraph, kind, slot)
        )
        unpacked = [_unpack(editor, subgraph, index, buffers) for index in constants]
        subgraph.operators = [*filter(None, unpacked), *subgraph.operators]
    return editor.content()


def _unpack(editor: Editor, subgraph: Any, index: int, buffers: dict[int, int]) -> Any:
    """The operator that makes tensor `index` of a new constant in float16; None where it stays.
    `buffers` are those with 16 bits already made, by those they were made of."""
    tensor = subgraph.tensors[index]
    values = editor.constant(tensor)
    if values is None or values.size < _LEAST_HALVED:
        return None
    if not np.abs(values).max() <= np.finfo(np.float16).max:
        return None
    if tensor.buffer not in buffers:
        buffers[tensor.buffer] = editor.add_buffer(values.astype(np.float16))
    name, half = f"{text(tensor.name)}/half", buffers[tensor.buffer]
    dtype = editor.schema.TensorType.FLOAT16
    constant = editor.add_tensor(subgraph, name, list(tensor.shape), dtype, half)
    tensor.buffer = 0
    dequantize = editor.schema.BuiltinOperator.DEQUANTIZE
    return editor.operator(dequantize, _DEQUANTIZE_VERSION, [constant], index)


def inputs_first(content: bytes) -> bytes:
    """A .tflite whose look-ups and conversions of inputs are the first operators of each graph.

    An Edge TPU's compiler cuts a graph by its data, where the order of the file does not matter; the
    published rule, from the first unsupported operation on everything runs on the CPU, reads as if
    it did.
    """
    editor = Editor(content)
    builtin = editor.schema.BuiltinOperator
    for subgraph in editor.tree.subgraphs:
        ready = {int(index) for index in subgraph.inputs}
        ready |= {
            index
            for index, tensor in enumerate(subgraph.tensors)
            if editor.tree.buffers[tensor.buffer].data is not None
        }
        first, later = [], []
        for operator in subgraph.operators:
            kind = editor.kind(operator)
            source = subgraph.tensors[operator.inputs[0]]
            from_float = kind == builtin.QUANTIZE and editor.is_float(source)
            is_input = all(int(index) in ready for index in operator.inputs if index >= 0)
            if is_input and (kind in (builtin.CAST, builtin.GATHER) or from_float):
                ready |= {int(index) for index in operator.outputs}
                first.append(operator)
            else:
                later.append(operator)
        subgraph.operators = [*first, *later]
    return editor.content()
