"""Puts what the CPU does for an Edge TPU's model before everything else in the file.

The compiler cuts a graph by its data, where the order of the file does not matter; the published
rule, from the first unsupported operation on everything runs on the CPU, reads as if it did.
"""

from __future__ import annotations

from tfedge.tflite.edit import Editor


def inputs_first(content: bytes) -> bytes:
    """A .tflite whose look-ups and conversions of inputs are the first operators of each graph."""
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
