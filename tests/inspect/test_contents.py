"""What a model holds, against models put together by hand and against what LiteRT says of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys as toy_builder
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from trees import (
    ADD,
    CUSTOM,
    FLOAT32,
    GELU,
    INT8,
    INT32,
    SOFTMAX,
    code,
    made,
    named,
    operator,
    packed,
    quantized,
    tensor,
)

from tfedge.errors import InputError
from tfedge.inspect.contents import Contents, Tensor, contents
from tfedge.tflite.flatbuffer import parse, text


@pytest.fixture
def tree() -> Any:
    """A graph of four operators and a subgraph beside it.

    ids + table -> a -> softmax -> b -> gelu -> c -> Betainc -> d
    """
    buffers = [made(schema.BufferT(), data=data) for data in (None, [1] * 24, [2] * 5, [3] * 7)]
    first = made(
        schema.SubGraphT(),
        tensors=[
            tensor("ids:0", [1, 6], INT32),
            tensor("table", [6], FLOAT32, buffer=1),
            tensor("a", [1, 6], INT8, quantization=quantized([0.5], [-3])),
            tensor("b", [1, 6], INT8, quantization=quantized([0.25, 0.125], [7, 8])),
            tensor("c", [1, 6], FLOAT32, quantization=schema.QuantizationParametersT()),
            tensor("d", [1, 6], FLOAT32),
            tensor("weights", [5], INT8, buffer=2),
            tensor("weights_again", [5], INT8, buffer=2),
        ],
        operators=[
            operator(0, [0, 1], [2]),
            operator(2, [2], [3]),
            operator(3, [3], [4]),
            operator(4, [4], [5]),
        ],
        inputs=[0],
        outputs=[4, 5],
    )
    second = made(
        schema.SubGraphT(),
        tensors=[tensor("x", [7], INT8, buffer=3), tensor("y", [7], INT8)],
        operators=[operator(1, [0, 0], [1])],
        inputs=[],
        outputs=[1],
    )
    signature = made(
        schema.SignatureDefT(),
        signatureKey="serving_default",
        subgraphIndex=0,
        inputs=named(input_ids=0),
        outputs=named(logits=3, hidden=4),
    )
    return made(
        schema.ModelT(),
        version=3,
        operatorCodes=[
            code(ADD, 2),
            code(ADD, 4),
            code(SOFTMAX, 1, old=SOFTMAX),
            code(GELU, 3),
            code(CUSTOM, 1, "Betainc"),
        ],
        subgraphs=[first, second],
        buffers=buffers,
        signatureDefs=[signature],
    )


def test_contents_by_hand(tree: Any) -> None:
    assert GELU > 127  # as it must be for this to be a test of the newer operators
    assert contents(packed(tree)) == Contents(
        inputs=[Tensor("input_ids", (1, 6), "INT32", None, None)],
        outputs=[
            Tensor("hidden", (1, 6), "FLOAT32", None, None),
            Tensor("logits", (1, 6), "INT8", None, None),
        ],
        activations={"FLOAT32": 2, "INT8": 3},
        constants={"FLOAT32": 24, "INT8": 5 + 7},
        operators={
            "ADD INT8": 2,
            "CUSTOM:Betainc FLOAT32": 1,
            "GELU FLOAT32": 1,
            "SOFTMAX INT8": 1,
        },
        versions={"ADD": 4, "CUSTOM:Betainc": 1, "GELU": 3, "SOFTMAX": 1},
    )


def test_float_operators(tree: Any) -> None:
    assert contents(packed(tree)).float_operators == {
        "CUSTOM:Betainc FLOAT32": 1,
        "GELU FLOAT32": 1,
    }


def test_file_of_an_old_converter(tree: Any) -> None:
    """It numbers operators in one byte only and has no signature."""
    tree.operatorCodes[2] = code(0, 1, old=SOFTMAX)
    tree.signatureDefs = None
    found = contents(packed(tree))
    assert found.operators["SOFTMAX INT8"] == 1
    assert (found.inputs, found.outputs) == ([], [])


def test_empty_lists_of_scales(tree: Any) -> None:
    """Some writers leave them out of tensors in float, some leave them empty."""
    tree.subgraphs[0].tensors[4].quantization = quantized([], [])
    (hidden, _) = contents(packed(tree)).outputs
    assert (hidden.scale, hidden.zero_point) == (None, None)


@pytest.mark.parametrize("name", ["int8_output", "buckets"])
def test_converted_model_as_its_runtime_sees_it(toys: Path, name: str) -> None:
    path = toys / f"{name}.bare.tflite"
    found = contents(path.read_bytes())
    interpreter = Interpreter(str(path), num_threads=1)
    key = next(iter(interpreter.get_signature_list()))
    runner = interpreter.get_signature_runner(key)
    for tensors, details in (
        (found.inputs, runner.get_input_details()),
        (found.outputs, runner.get_output_details()),
    ):
        assert [item.name for item in tensors] == sorted(details)
        for item in tensors:
            detail = details[item.name]
            assert item.shape == tuple(detail["shape"])
            assert item.dtype == np.dtype(detail["dtype"]).name.upper()
            assert (item.scale or 0, item.zero_point or 0) == detail["quantization"]


def test_toy_in_integers(toys: Path) -> None:
    in_float = contents((toys / "classifier.bare.tflite").read_bytes())
    in_integers = contents((toys / "int8_output.bare.tflite").read_bytes())
    # The embeddings and the layer behind them.
    weights = len(toy_builder.VOCABULARY) * toy_builder.WIDTH + toy_builder.WIDTH * 2
    assert in_float.constants["FLOAT32"] == 4 * weights
    assert in_integers.constants["INT8"] == weights
    assert set(in_float.float_operators) == set(in_float.operators)
    # The mask and the token types come as INT32, and CAST knows no way to INT8 but by FLOAT32.
    assert in_integers.float_operators == {"CAST FLOAT32": 2}
    assert in_integers.activations["FLOAT32"] == 2


def test_metadata_change_nothing_but_themselves(toys: Path) -> None:
    bare = contents((toys / "classifier.bare.tflite").read_bytes())
    assert contents((toys / "classifier.tflite").read_bytes()) == bare


def test_what_is_no_model(toys: Path) -> None:
    for content in (b"", b"hello" * 99):
        with pytest.raises(InputError, match="not a TensorFlow Lite model"):
            contents(content)
    content = (toys / "classifier.bare.tflite").read_bytes()
    for length in (8, 100, len(content) // 2):
        with pytest.raises(InputError, match="a damaged or truncated model"):
            contents(content[:length])


def test_weights_outside_the_model(tree: Any) -> None:
    made(tree.buffers[1], data=None, offset=4096, size=24)
    with pytest.raises(InputError, match="larger than 2 GB"):
        parse(packed(tree))


def test_strings_of_a_model(tree: Any) -> None:
    found, module = parse(packed(tree))
    assert module is schema
    assert text(found.subgraphs[0].tensors[0].name) == "ids:0"
    assert text("é") == text("é".encode()) == "é"
