"""Weights in 16 bits, and what runtimes make of files with several signatures; operators in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy_folders
import toys
from ai_edge_litert import schema_py_generated as schema
from program import each_runtime
from trees import code, made, packed

from tfedge.errors import InputError
from tfedge.measure.board import Board
from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.prepare import Shape, float_graphs
from tfedge.tflite.edit import halve_weights, inputs_first
from tfedge.tflite.flatbuffer import pack, parse
from tfedge.tflite.metadata import write_bundle
from tfedge.tflite.tflite import signature_name, to_tflite
from tfedge.tflite.tflite_metadata import BundleSpec

TASK = "text-classification"
LENGTHS = (16, 8, 12)
SPEC = BundleSpec(
    name="toy",
    task=TASK,
    labels=list(toy_folders.LABELS),
    signatures={signature_name(length, LENGTHS[0]): length for length in LENGTHS},
    runtimes=("tflite-runtime", "litert"),
    quantization="float16",
    normalize=False,
    tokenizer_json=toys.tokenizer_json(),
    vocab=None,
)
# Half a unit in the last of float16's 11 bits, through the layers of a toy.
TOLERANCE = 5e-3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A toy BERT for three lengths, in float32."""
    folder = toy_folders.write_folder(tmp_path_factory.mktemp("toy") / "toy", "bert", TASK)
    shape = Shape(TASK, 2, LENGTHS[0], buckets=LENGTHS[1:])
    return to_tflite(float_graphs(Checkpoint(folder), shape), "float32", "tflite-runtime")


@each_runtime
def test_lengths_in_turn_answer_as_float_does(model: bytes, runtime: str, tmp_path: Path) -> None:
    # What TFLiteConverter makes of it fails here: see `halve_weights`.
    texts = [" ".join(["film", "good", "bad"] * count) for count in (1, 4, 3, 1, 2, 4, 1)]
    scores = []
    for name, content in (("float32", model), ("float16", halve_weights(model))):
        path = tmp_path / f"{name}.tflite"
        write_bundle(content, SPEC, path)
        answers = Board(runtime=runtime).answers(path, texts)
        scores.append([answer["scores"]["positive"] for answer in answers])
    assert len(set(scores[0])) == 4
    assert scores[1] == pytest.approx(scores[0], abs=TOLERANCE)
    assert scores[1] != scores[0]


def test_only_weights_and_tables_become_smaller(model: bytes) -> None:
    tree, _ = parse(halve_weights(model))
    codes = [code.builtinCode for code in tree.operatorCodes]
    kinds = schema.BuiltinOperator
    for subgraph in tree.subgraphs:
        unpacked = {
            int(operator.outputs[0])
            for operator in subgraph.operators
            if codes[operator.opcodeIndex] == kinds.DEQUANTIZE
        }
        assert unpacked
        readers = {
            (codes[operator.opcodeIndex], position)
            for operator in subgraph.operators
            for position, index in enumerate(operator.inputs)
            if index in unpacked
        }
        assert readers <= {(kinds.FULLY_CONNECTED, 1), (kinds.GATHER, 0)}
    # The rounded constants replace the others, and the lengths share them.
    dense = sum(item.data.nbytes for item in parse(model)[0].buffers if item.data is not None)
    left = sum(item.data.nbytes for item in tree.buffers if item.data is not None)
    assert left < 0.75 * dense


def test_what_float16_cannot_hold_stays(model: bytes) -> None:
    tree, _ = parse(model)
    sizes = [0 if item.data is None else len(item.data) for item in tree.buffers]
    largest = tree.buffers[int(np.argmax(sizes))]
    values = np.array(largest.data, np.uint8).view(np.float32)
    values[0] = 1e6
    largest.data = values.view(np.uint8)
    kept = parse(halve_weights(pack(tree)))[0]
    assert max(len(item.data) for item in kept.buffers if item.data is not None) == max(sizes)


def test_what_is_no_model() -> None:
    with pytest.raises(InputError, match="not a TensorFlow Lite model"):
        halve_weights(b"PK\3\4" + bytes(100))


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
