"""Keeps the large constants of a .tflite that computes in floating point in 16 bits.

TFLiteConverter makes 16 bits of all constants. tflite-runtime 2.14 gives its fast kernels the
unpacked values of those that are added or multiplied, and frees them when it comes to the next
signature: a file with several answers wrongly. Weights of dense layers are copied in time, and
tables are not given away, so that these alone are made smaller here; the others weigh nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfedge.tflite.edit import Editor
from tfedge.tflite.flatbuffer import text

# Constants with fewer numbers stay as they are.
_LEAST_NUMBERS = 1024
_DEQUANTIZE_VERSION = 3  # the first that reads float16


def halve_weights(content: bytes) -> bytes:
    """Rounds float constants of FULLY_CONNECTED and GATHER operators to float16.

    Each is read through a DEQUANTIZE, which runtimes execute once. What does not fit into float16
    (beyond 65504), and what other operators read too, stays.

    Args:
        content: a .tflite.

    Raises:
        InputError: `content` is no TensorFlow Lite model.
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

    Args:
        buffers: those with 16 bits already made, by those they were made of.
    """
    tensor = subgraph.tensors[index]
    values = editor.constant(tensor)
    if values is None or values.size < _LEAST_NUMBERS:
        return None
    if not np.abs(values).max() <= np.finfo(np.float16).max:
        return None
    if tensor.buffer not in buffers:
        buffers[tensor.buffer] = editor.add_buffer(values.astype(np.float16))
    name, half = f"{text(tensor.name)}/half", buffers[tensor.buffer]
    dtype = editor.schema.TensorType.FLOAT16
    constant = editor.add_tensor(subgraph, name, list(tensor.shape), dtype, half)
    tensor.buffer = 0
    code = editor.code(editor.schema.BuiltinOperator.DEQUANTIZE, _DEQUANTIZE_VERSION)
    return editor.operator(code, [constant], index)
