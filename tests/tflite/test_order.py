"""The order of operators: inputs' conversions first, and the same answers."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema
from trees import code, made, packed

from tfedge.tflite.edit import inputs_first
from tfedge.tflite.flatbuffer import parse


def test_look_ups_of_inputs_come_first() -> None:
    """x -> ADD -> GATHER (of what was computed) ; y -> CAST -> QUANTIZE."""
    kinds = schema.TensorType
    types = [kinds.INT8, kinds.INT32, kinds.INT8, kinds.INT8, kinds.FLOAT32, kinds.INT8]
    tensors = [
        made(schema.TensorT(), name=f"t{i}", shape=[1], type=kind, buffer=0)
        for i, kind in enumerate(types)
    ]
    operators = [
        made(schema.OperatorT(), opcodeIndex=index, inputs=inputs, outputs=[output])
        for index, inputs, output in (
            (0, [0, 0], 2),  # ADD
            (1, [2, 1], 3),  # GATHER
            (2, [1], 4),  # CAST
            (3, [4], 5),  # QUANTIZE
        )
    ]
    builtin = schema.BuiltinOperator
    names = (builtin.ADD, builtin.GATHER, builtin.CAST, builtin.QUANTIZE)
    graph = made(
        schema.SubGraphT(), tensors=tensors, operators=operators, inputs=[0, 1], outputs=[3, 5]
    )
    tree = made(
        schema.ModelT(),
        version=3,
        subgraphs=[graph],
        operatorCodes=[code(name, 1) for name in names],
        buffers=[schema.BufferT()],
    )
    ordered, _ = parse(inputs_first(packed(tree)))
    found = [operator.opcodeIndex for operator in ordered.subgraphs[0].operators]
    assert found == [2, 3, 0, 1]
