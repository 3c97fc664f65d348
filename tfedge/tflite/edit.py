"""Changes the operators and constants of a .tflite as a tree of objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfedge.tflite.flatbuffer import pack, parse, tools
from tfedge.tflite.share import drop_unused


class Editor:
    """The object tree of one model, and what changing it takes.

    Args:
        content: a .tflite.

    Raises:
        InputError: `content` is no TensorFlow Lite model.
    """

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
            code = self.schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = kind
            code.version = version
            self._codes[kind, version] = len(self.tree.operatorCodes)
            self.tree.operatorCodes.append(code)
        return self._codes[kind, version]

    def operator(self, code: int, inputs: list[int], output: int) -> Any:
        """A new operator without options, not yet in a subgraph."""
        operator = self.schema.OperatorT()
        operator.opcodeIndex = code
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array([output], np.int32)
        return operator

    def add_tensor(
        self, subgraph: Any, name: str, shape: list[int], dtype: int, buffer: int = 0
    ) -> int:
        """The index of a new tensor; the first buffer is the empty one, by TFLite's schema."""
        tensor = self.schema.TensorT()
        tensor.name = name
        tensor.shape = np.asarray(shape, np.int32)
        tensor.type = dtype
        tensor.buffer = buffer
        subgraph.tensors.append(tensor)
        return len(subgraph.tensors) - 1

    def add_buffer(self, data: np.ndarray) -> int:
        """The index of a new buffer."""
        buffer = self.schema.BufferT()
        buffer.data = data.ravel().view(np.uint8)
        self.tree.buffers.append(buffer)
        return len(self.tree.buffers) - 1
