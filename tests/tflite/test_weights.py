"""Weights of a few bits: what the file says, and what runtimes make of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from trees import EMPTY, FLOAT32, INT32, code, made, named, operator, packed, tensor

from tfedge.errors import InputError, RejectedModelError
from tfedge.measure.board import Board
from tfedge.progress import unheard
from tfedge.quantize.weights import RoundedRows, round_nearest
from tfedge.tflite.flatbuffer import parse, text
from tfedge.tflite.weights import dense_inputs, layer_of, quantize_weights

WORDS, TOKENS, CHANNELS, UNITS = 50, 6, 64, 24
ENTRY = ("serve", 0)
BUILTIN = schema.BuiltinOperator
RUNTIMES = ("litert", "tflite-runtime")


def _constant(seed: int, *shape: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    spread = np.exp(random.normal(size=(shape[0], *(1 for _ in shape[1:]))))
    return (random.normal(size=shape) * spread).astype(np.float32)


TABLE = _constant(0, WORDS, CHANNELS)
WEIGHTS = _constant(1, UNITS, CHANNELS)
HEAD = _constant(2, 2, UNITS)


def _buffer(data: np.ndarray | None) -> Any:
    content = None if data is None else np.frombuffer(data.tobytes(), np.uint8)
    return made(schema.BufferT(), data=content)


def _dense(opcode: int, inputs: list[int], output: int) -> Any:
    return made(
        operator(opcode, inputs, [output]),
        builtinOptionsType=schema.BuiltinOptions.FullyConnectedOptions,
        builtinOptions=made(schema.FullyConnectedOptionsT(), keepNumDims=True),
    )


def _gather(opcode: int, inputs: list[int], output: int) -> Any:
    return made(
        operator(opcode, inputs, [output]),
        builtinOptionsType=schema.BuiltinOptions.GatherOptions,
        builtinOptions=schema.GatherOptionsT(),
    )


def _subgraph(tokens: int) -> Any:
    """ids -> rows of the table -> a dense layer -> a head of two outputs, without biases."""
    return made(
        schema.SubGraphT(),
        tensors=[
            tensor("ids", [1, tokens], INT32),
            tensor("table", [WORDS, CHANNELS], FLOAT32, buffer=1),
            tensor("hidden", [1, tokens, CHANNELS], FLOAT32),
            tensor("dense/weights", [UNITS, CHANNELS], FLOAT32, buffer=2),
            tensor("dense", [1, tokens, UNITS], FLOAT32),
            tensor("head/weights", [2, UNITS], FLOAT32, buffer=3),
            tensor("head", [1, tokens, 2], FLOAT32),
        ],
        operators=[
            _gather(0, [1, 0], 2),
            _dense(1, [2, 3, -1], 4),
            _dense(1, [4, 5, -1], 6),
        ],
        inputs=[0],
        outputs=[4, 6],
    )


@pytest.fixture
def tree() -> Any:
    """The same encoder for two lengths."""
    keys = ("serve", "short")
    return made(
        schema.ModelT(),
        version=3,
        operatorCodes=[code(BUILTIN.GATHER, 1), code(BUILTIN.FULLY_CONNECTED, 6)],
        buffers=[_buffer(data) for data in (None, TABLE, WEIGHTS, HEAD)],
        subgraphs=[_subgraph(TOKENS), _subgraph(3)],
        signatureDefs=[
            made(
                schema.SignatureDefT(),
                signatureKey=key,
                subgraphIndex=index,
                inputs=named(ids=0),
                outputs=named(dense=4, head=6),
            )
            for index, key in enumerate(keys)
        ],
    )


@pytest.fixture
def model(tree: Any) -> bytes:
    return packed(tree)


def _rounds(bits: int, per_row: bool = True) -> Callable[[str, np.ndarray], RoundedRows]:
    return lambda name, values: round_nearest(values, bits, per_row)


def _leaves(name: str, values: np.ndarray) -> None:
    del name, values


def _find(content: bytes, name: str, subgraph: int = 0) -> tuple[Any, bytes]:
    """A tensor and its bytes."""
    tree, _ = parse(content)
    (found,) = [item for item in tree.subgraphs[subgraph].tensors if text(item.name) == name]
    data = tree.buffers[found.buffer].data
    return found, b"" if data is None else bytes(data)


def _versions(content: bytes) -> list[tuple[int, int]]:
    tree, _ = parse(content)
    codes = [tree.operatorCodes[item.opcodeIndex] for item in tree.subgraphs[0].operators]
    return [(item.builtinCode, item.version) for item in codes]


def _run(runtime: str, content: bytes, folder: Path) -> np.ndarray:
    """The output of the dense layer for ids 0..5 and 6..11."""
    path = folder / "model.tflite"
    path.write_bytes(content)
    ids = np.arange(2 * TOKENS, dtype=np.int32).reshape(2, TOKENS)
    (output,) = Board(runtime=runtime).tensors(path, ENTRY, {"ids": ids}, [4], unheard)
    return output.reshape(-1, UNITS)


def _error(output: np.ndarray, table: np.ndarray, weights: np.ndarray) -> float:
    expected = table[: len(output)] @ weights.T
    return float(np.abs(output - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(
    ("runtime", "bits", "per_row"),
    [
        ("litert", 4, True),
        ("litert", 8, True),
        ("litert", 8, False),
        ("tflite-runtime", 4, True),
        ("tflite-runtime", 8, False),
    ],
)
def test_runtimes_compute_with_rounded_weights(
    runtime: str, bits: int, per_row: bool, model: bytes, tmp_path: Path
) -> None:
    output = _run(runtime, quantize_weights(model, _rounds(bits, per_row)), tmp_path)
    rounded = round_nearest(WEIGHTS, bits, per_row).values
    assert _error(output, TABLE, rounded) < 0.02  # the input is rounded to 8 bits too
    if bits == 4:
        assert _error(output, TABLE, WEIGHTS) > 0.02


def test_8_bits_with_one_scale_a_row_are_refused_by_the_old_runtime(
    model: bytes, tmp_path: Path
) -> None:
    """It would run an older version of the operator, and give wrong numbers."""
    with pytest.raises(RejectedModelError, match="FULLY_CONNECTED"):
        _run("tflite-runtime", quantize_weights(model, _rounds(8)), tmp_path)


@pytest.mark.parametrize(
    ("runtime", "bits", "per_row"),
    [
        ("litert", 4, True),
        ("litert", 8, True),
        ("litert", 8, False),
        ("tflite-runtime", 8, False),
    ],
)
def test_runtimes_read_rounded_tables(
    runtime: str, bits: int, per_row: bool, model: bytes, tmp_path: Path
) -> None:
    content = quantize_weights(model, _leaves, _rounds(bits, per_row))
    rounded = round_nearest(TABLE, bits, per_row).values
    assert _error(_run(runtime, content, tmp_path), rounded, WEIGHTS) < 1e-5


def test_a_table_of_4_bits_needs_a_scale_a_row(model: bytes) -> None:
    with pytest.raises(ValueError, match="'table' of 4 bits needs one scale a row"):
        quantize_weights(model, _leaves, _rounds(4, per_row=False))


def test_two_integers_share_a_byte_the_first_in_its_lower_half(model: bytes) -> None:
    integers = np.resize(np.array([1, -1, 7, -7, 0, 3], np.int8), WEIGHTS.shape)
    rounded = RoundedRows(integers, np.full(UNITS, 0.5, np.float32), 4)
    content = quantize_weights(
        model, lambda name, values: rounded if name == "dense/weights" else None
    )
    found, data = _find(content, "dense/weights")
    assert found.type == schema.TensorType.INT4
    assert data[:4] == bytes([0xF1, 0x97, 0x30, 0xF1])
    assert len(data) == WEIGHTS.size // 2
    assert found.quantization.scale.tolist() == [0.5] * UNITS
    assert (found.quantization.zeroPoint.tolist(), found.quantization.quantizedDimension) == (
        [0] * UNITS,
        0,
    )


def test_versions_of_the_operators(model: bytes) -> None:
    def after(bits: int, per_row: bool) -> list[tuple[int, int]]:
        return _versions(quantize_weights(model, _rounds(bits, per_row)))[1:]

    dense = BUILTIN.FULLY_CONNECTED
    assert after(8, True) == [(dense, 12), (dense, 12)]
    assert after(8, False) == [(dense, 9), (dense, 9)]
    # The head has two outputs: too small for the kernels of 4 bits.
    assert after(4, True) == [(dense, 9), (dense, 6)]
    looked_up = _versions(quantize_weights(model, _leaves, _rounds(4)))
    lookup = (BUILTIN.EMBEDDING_LOOKUP, 4)
    assert looked_up[:3] == [(BUILTIN.RESHAPE, 1), lookup, (BUILTIN.RESHAPE, 1)]


def test_lengths_share_what_is_rounded_once(model: bytes) -> None:
    seen: list[str] = []

    def rounding(name: str, values: np.ndarray) -> RoundedRows:
        seen.append(name)
        return round_nearest(values, 4)

    content = quantize_weights(model, rounding, rounding)
    assert seen == ["dense/weights", "head/weights", "table"]
    for name in ("table", "dense/weights"):
        first, second = (_find(content, name, subgraph)[0] for subgraph in range(2))
        assert first.buffer == second.buffer != EMPTY
    # The floats are gone, what was left is not.
    tree, _ = parse(content)
    sizes = sorted(len(item.data) for item in tree.buffers if item.data is not None)
    assert sizes[-2:] == [WEIGHTS.size // 2, TABLE.size // 2]
    assert _find(content, "head/weights")[1] == HEAD.tobytes()


def test_weights_that_something_else_reads_stay(tree: Any, model: bytes) -> None:
    """A head that multiplies with the table, say."""
    tree.subgraphs[0].operators[1].inputs[1] = 1
    content = quantize_weights(packed(tree), _rounds(4), _rounds(4))
    assert _find(content, "table")[0].type == FLOAT32
    assert _find(quantize_weights(model, _rounds(4), _rounds(4)), "table")[0].type != FLOAT32


def test_two_layers_with_one_tensor_of_weights(tree: Any, tmp_path: Path) -> None:
    subgraph = tree.subgraphs[0]
    subgraph.tensors.append(tensor("again", [1, TOKENS, UNITS], FLOAT32))
    subgraph.operators.append(_dense(1, [2, 3, -1], 7))
    content = quantize_weights(packed(tree), _rounds(8))
    assert _versions(content)[-1] == (BUILTIN.FULLY_CONNECTED, 12)
    assert _error(_run("litert", content, tmp_path), TABLE, WEIGHTS) < 0.02


def test_what_is_left_is_left(model: bytes) -> None:
    content = quantize_weights(model, _leaves, _leaves)
    assert _find(content, "dense/weights")[1] == WEIGHTS.tobytes()
    assert _versions(content) == _versions(model)


def test_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="not a TensorFlow Lite model"):
        quantize_weights(b"something else", _rounds(4))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_grams_of_what_the_layers_read(runtime: str, tree: Any, tmp_path: Path) -> None:
    """Without padding, and of tensors that are no outputs."""
    subgraph = tree.subgraphs[0]
    subgraph.tensors.append(tensor("mask", [1, TOKENS], INT32))
    subgraph.inputs.append(7)
    tree.signatureDefs[0].inputs = named(ids=0, attention_mask=7)
    path = tmp_path / "model.tflite"
    path.write_bytes(packed(tree))
    indices = dense_inputs(path.read_bytes())
    assert indices == {"dense/weights": 2, "head/weights": 4}
    ids = np.arange(2 * TOKENS, dtype=np.int32).reshape(2, TOKENS)
    mask = (np.arange(TOKENS) < [[4], [6]]).astype(np.int32)
    progress: list[int] = []
    inputs = {"ids": ids, "attention_mask": mask}
    grams = Board(runtime=runtime).grams(path, ENTRY, inputs, [2, 4], progress.append)
    hidden = TABLE[ids[mask == 1]]
    for index, vectors in ((2, hidden), (4, hidden @ WEIGHTS.T)):
        expected = vectors.T @ vectors
        np.testing.assert_allclose(grams[index], expected, atol=1e-4 * np.abs(expected).max())
    assert progress == [1, 1]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("bert/a.dense/MatMul", "a.dense"),
        ("bert/a.dense.act/Relu;bert/a.dense/BiasAdd", "a.dense"),
        ("bert/xa.dense/MatMul", None),
    ],
)
def test_a_tensor_is_of_the_layer_that_its_name_has(name: str, layer: str | None) -> None:
    assert layer_of(name, {"a.dense"}) == layer
