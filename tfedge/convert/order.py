"""Puts what the CPU does for an Edge TPU's model before everything else in the file.

The compiler cuts a graph by its data, where the order of the file does not matter; the published
rule, from the first unsupported operation on everything runs on the CPU, reads as if it did.
"""

from __future__ import annotations

from tfedge.convert.metadata import pack, parse

_ON_CPU = ("CAST", "GATHER")


def inputs_first(content: bytes) -> bytes:
    """A .tflite whose look-ups and conversions of inputs are the first operators of each graph."""
    tree, schema = parse(content)
    names = {
        value: name
        for name, value in vars(schema.BuiltinOperator).items()
        if isinstance(value, int)
    }
    for subgraph in tree.subgraphs:
        ready = {int(index) for index in subgraph.inputs}
        ready |= {
            index
            for index, tensor in enumerate(subgraph.tensors)
            if tree.buffers[tensor.buffer].data is not None
        }
        first, later = [], []
        for operator in subgraph.operators:
            code = tree.operatorCodes[operator.opcodeIndex]
            name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            source = subgraph.tensors[operator.inputs[0]]
            from_float = name == "QUANTIZE" and source.type == schema.TensorType.FLOAT32
            is_input = all(int(index) in ready for index in operator.inputs if index >= 0)
            if is_input and (name in _ON_CPU or from_float):
                ready |= {int(index) for index in operator.outputs}
                first.append(operator)
            else:
                later.append(operator)
        subgraph.operators = [*first, *later]
    return pack(tree)
