"""Models put together by hand, table by table of TFLite's schema."""

from __future__ import annotations

from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

FLOAT32, INT32, INT8 = (getattr(schema.TensorType, name) for name in ("FLOAT32", "INT32", "INT8"))
ADD, CUSTOM, GELU, SOFTMAX = (
    getattr(schema.BuiltinOperator, name) for name in ("ADD", "CUSTOM", "GELU", "SOFTMAX")
)
EMPTY = 0  # the buffer of all tensors without data


def made(table: Any, **fields: Any) -> Any:
    """A table of the schema with its fields set."""
    for name, value in fields.items():
        setattr(table, name, value)
    return table


def code(builtin: int, version: int, custom: str | None = None, old: int | None = None) -> Any:
    """An operator's code; `old` is its number as files had it before there were more than 127."""
    return made(
        schema.OperatorCodeT(),
        builtinCode=builtin,
        deprecatedBuiltinCode=min(builtin, 127) if old is None else old,
        version=version,
        customCode=custom,
    )


def tensor(
    name: str, shape: list[int], dtype: int, buffer: int = EMPTY, quantization: Any = None
) -> Any:
    return made(
        schema.TensorT(),
        name=name,
        shape=shape,
        type=dtype,
        buffer=buffer,
        quantization=quantization,
    )


def quantized(scales: list[float], zero_points: list[int]) -> Any:
    return made(schema.QuantizationParametersT(), scale=scales, zeroPoint=zero_points)


def operator(opcode: int, inputs: list[int], outputs: list[int]) -> Any:
    return made(schema.OperatorT(), opcodeIndex=opcode, inputs=inputs, outputs=outputs)


def named(**indices: int) -> list[Any]:
    """A side of a signature: its names and the tensors that they stand for."""
    return [
        made(schema.TensorMapT(), name=name, tensorIndex=index) for name, index in indices.items()
    ]


def packed(tree: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())
