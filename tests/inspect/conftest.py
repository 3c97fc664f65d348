"""A model put together by hand: integers, a float island, integers again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from trees import FLOAT32, INT8, INT32, code, made, named, operator, packed, quantized, tensor

OPERATORS = ("GATHER", "DEQUANTIZE", "GELU", "RSQRT", "QUANTIZE", "CONV_2D", "SUM", "CAST")
MakeFile = Callable[[Any], Path]


def builtin(name: str) -> int:
    return int(getattr(schema.BuiltinOperator, name))


@pytest.fixture
def tree() -> Any:
    """ids -> look-up -> (float: GELU, RSQRT) -> convolution -> sum; beside it ids -> cast."""
    q = quantized([0.5], [-3])
    graph = made(
        schema.SubGraphT(),
        tensors=[
            tensor("ids:0", [1, 6], INT32),
            tensor("net/table", [9, 4], INT8, buffer=1, quantization=q),
            tensor("net/look_up/Gather;net/table", [1, 6, 1, 4], INT8, quantization=q),
            tensor("net/real", [1, 6, 1, 4], FLOAT32),
            tensor("net/act/Gelu", [1, 6, 1, 4], FLOAT32),
            tensor("net/norm/Rsqrt", [1, 6, 1, 4], FLOAT32),
            tensor("net/again", [1, 6, 1, 4], INT8, quantization=quantized([0.25], [0])),
            tensor("net/kernel", [2, 1, 3, 4], INT8, buffer=2, quantization=q),
            tensor("net/dense/BiasAdd", [1, 6, 1, 2], INT8, quantization=q),
            tensor("StatefulPartitionedCall:0", [1, 2], INT8, quantization=q),
            tensor("net/cast", [1, 6], FLOAT32),
        ],
        operators=[
            operator(0, [1, 0], [2]),
            operator(1, [2], [3]),
            operator(2, [3], [4]),
            operator(3, [4], [5]),
            operator(4, [5], [6]),
            operator(5, [6, 7, -1], [8]),
            operator(6, [8], [9]),
            operator(7, [0], [10]),
        ],
        inputs=[0],
        outputs=[9],
    )
    signature = made(
        schema.SignatureDefT(),
        signatureKey="serve",
        subgraphIndex=0,
        inputs=named(ids=0),
        outputs=named(logits=9),
    )
    return made(
        schema.ModelT(),
        version=3,
        description="by hand",
        operatorCodes=[code(builtin(name), 1 + index) for index, name in enumerate(OPERATORS)],
        subgraphs=[graph],
        buffers=[made(schema.BufferT(), data=data) for data in (None, [1] * 36, [2] * 24)],
        signatureDefs=[signature],
    )


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    """Writes a tree, or bytes."""

    def make(content: Any) -> Path:
        path = tmp_path / "hand.tflite"
        path.write_bytes(content if isinstance(content, bytes) else packed(content))
        return path

    return make
