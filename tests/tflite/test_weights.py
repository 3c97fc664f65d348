"""Weights of a few bits: what the file says, and what runtimes make of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from program import each_runtime
from trees import EMPTY, FLOAT32, INT32, code, made, named, operator, packed, tensor

from tfedge.errors import InputError
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
UNEVEN = (WEIGHTS.T * np.exp(-np.arange(UNITS) / 2)).T.astype(np.float32)
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


def _rounds(bits: int) -> Callable[[str, np.ndarray], RoundedRows]:
    return lambda name, values: round_nearest(values, bits)


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


def _run(board: Board, content: bytes, folder: Path) -> np.ndarray:
    """The output of the dense layer for ids 0..5 and 6..11."""
    path = folder / "model.tflite"
    path.write_bytes(content)
    ids = np.arange(2 * TOKENS, dtype=np.int32).reshape(2, TOKENS)
    (output,) = board.tensors(path, ENTRY, {"ids": ids}, [4], unheard)
    return output.reshape(-1, UNITS)


def _error(output: np.ndarray, table: np.ndarray, weights: np.ndarray) -> float:
    expected = table[: len(output)] @ weights.T
    return float(np.abs(output - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("bits", [4, 8])
@each_runtime
def test_runtimes_compute_with_rounded_weights(
    runtime: str, bits: int, model: bytes, tmp_path: Path
) -> None:
    output = _run(Board(runtime=runtime), quantize_weights(model, _rounds(bits)), tmp_path)
    rounded = round_nearest(WEIGHTS, bits).values
    assert _error(output, TABLE, rounded) < 0.02  # the input is rounded to 8 bits too
    if bits == 4:
        assert _error(output, TABLE, WEIGHTS) > 0.02


def _assert_each_row_is_right(output: np.ndarray) -> None:
    """With one scale for all of `UNEVEN` most rows would be 0, and with one for all tokens most tokens
    without their differences."""
    expected = (np.exp(np.arange(12) / 2)[:, None] * TABLE[:12]) @ UNEVEN.T
    for axis in (0, 1):
        error, size = (
            np.linalg.norm(values, axis=axis) for values in (output - expected, expected)
        )
        assert (error / size).max() < 0.03


@pytest.fixture
def uneven(tree: Any) -> bytes:
    """The same with tokens and rows of weights of many sizes, in 8 bits."""
    sizes = np.exp(np.arange(WORDS) / 2)[:, None].astype(np.float32)
    tree.buffers[1] = _buffer(TABLE * sizes)
    tree.buffers[2] = _buffer(UNEVEN)
    return quantize_weights(packed(tree), _rounds(8))


@each_runtime
def test_each_row_and_each_token_has_a_scale(runtime: str, uneven: bytes, tmp_path: Path) -> None:
    _assert_each_row_is_right(_run(Board(runtime=runtime), uneven, tmp_path))


@pytest.mark.arm
@pytest.mark.parametrize("board", ["rpi2", "rpi4", "rpi5", "jetson-nano"])
def test_each_row_and_each_token_has_a_scale_on_boards(
    board: str, emulator: Path, uneven: bytes, tmp_path: Path
) -> None:
    # LiteRT has no wheel for 32 bits.
    for runtime in ["tflite-runtime"] if board == "rpi2" else RUNTIMES:
        emulated = Board((str(emulator), board), runtime, threads=1)
        _assert_each_row_is_right(_run(emulated, uneven, tmp_path))


@each_runtime
def test_a_dense_layer_keeps_its_bias_and_its_relu(runtime: str, tree: Any, tmp_path: Path) -> None:
    bias = np.linspace(-5, 5, UNITS, dtype=np.float32)
    tree.buffers.append(_buffer(bias))
    subgraph = tree.subgraphs[0]
    subgraph.tensors.append(tensor("bias", [UNITS], FLOAT32, buffer=4))
    dense = subgraph.operators[1]
    dense.inputs[2] = 7
    dense.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    content = quantize_weights(packed(tree), _rounds(8))
    expected = np.maximum(TABLE[:12] @ WEIGHTS.T + bias, 0)
    error = np.abs(_run(Board(runtime=runtime), content, tmp_path) - expected).max()
    assert error < 0.02 * expected.max()


@each_runtime
def test_runtimes_read_rounded_tables(runtime: str, model: bytes, tmp_path: Path) -> None:
    content = quantize_weights(model, _leaves, _rounds(8))
    rounded = round_nearest(TABLE, 8).values
    assert _error(_run(Board(runtime=runtime), content, tmp_path), rounded, WEIGHTS) < 1e-5


def test_a_table_has_8_bits(model: bytes) -> None:
    with pytest.raises(ValueError, match="tables have 8 bits, and 'hidden' would have 4"):
        quantize_weights(model, _leaves, _rounds(4))


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
    dense, convolution = (BUILTIN.FULLY_CONNECTED, 9), (BUILTIN.CONV_2D, 5)
    reshape = (BUILTIN.RESHAPE, 1)
    # Both results are the graph's; the second convolution reads what the first one makes.
    rounded = _versions(quantize_weights(model, _rounds(8)))
    assert rounded == [(BUILTIN.GATHER, 1), *[reshape, convolution] * 2, reshape]
    # The head has two outputs: too small for the kernels of 4 bits.
    assert _versions(quantize_weights(model, _rounds(4)))[1:] == [dense, (dense[0], 6)]
    assert _versions(quantize_weights(model, _leaves, _rounds(8)))[:4] == [
        (BUILTIN.GATHER, 2),
        (BUILTIN.DEQUANTIZE, 2),
        (BUILTIN.GATHER, 1),
        (BUILTIN.MUL, 1),
    ]


@each_runtime
def test_nothing_is_reshaped_between_convolutions(runtime: str, tree: Any, tmp_path: Path) -> None:
    """Not for a GELU either, nor twice for two layers; what another operator reshapes is once."""
    subgraph = tree.subgraphs[0]
    shape = np.array([TOKENS, UNITS], np.int32)
    tree.buffers.append(_buffer(shape))
    subgraph.tensors += [
        tensor("gelu", [1, TOKENS, UNITS], FLOAT32),
        tensor("shape", [2], INT32, buffer=4),
        tensor("matrix", [TOKENS, UNITS], FLOAT32),
    ]
    gelu = operator(2, [4], [7])
    tree.operatorCodes += [code(BUILTIN.GELU, 1), code(BUILTIN.RESHAPE, 1)]
    subgraph.operators[2:2] = [gelu, operator(3, [7, 8], [9])]
    subgraph.operators[-1].inputs[0] = 9
    subgraph.outputs = [6]
    tree.signatureDefs[0].outputs = named(head=6)
    content = quantize_weights(packed(tree), _rounds(8))
    kinds = [kind for kind, _ in _versions(content)]
    convolution, reshape = BUILTIN.CONV_2D, BUILTIN.RESHAPE
    assert kinds == [BUILTIN.GATHER, reshape, convolution, BUILTIN.GELU, convolution, reshape]
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    ids = np.arange(TOKENS, dtype=np.int32)[None]
    (output,) = Board(runtime=runtime).tensors(path, ENTRY, {"ids": ids}, [6], unheard)
    x = TABLE[:TOKENS] @ WEIGHTS.T
    expected = x * (1 + np.vectorize(math.erf)(x / np.sqrt(2))) / 2 @ HEAD.T
    assert np.abs(output[0, 0] - expected).max() < 0.02 * np.abs(expected).max()


def test_lengths_share_what_is_rounded_once(model: bytes) -> None:
    seen: list[str] = []

    def rounding(name: str, values: np.ndarray) -> RoundedRows:
        seen.append(name)
        return round_nearest(values, 8 if name == "table" else 4)

    content = quantize_weights(model, rounding, rounding)
    assert seen == ["dense/weights", "head/weights", "table"]
    for name in ("table", "dense/weights"):
        first, second = (_find(content, name, subgraph)[0] for subgraph in range(2))
        assert first.buffer == second.buffer != EMPTY
    # The floats are gone, what was left is not.
    tree, _ = parse(content)
    sizes = sorted(len(item.data) for item in tree.buffers if item.data is not None)
    assert sizes[-2:] == [WEIGHTS.size // 2, TABLE.size]
    assert _find(content, "head/weights")[1] == HEAD.tobytes()


def test_weights_that_something_else_reads_stay(tree: Any, model: bytes) -> None:
    """A head that multiplies with the table, say."""
    tree.subgraphs[0].operators[1].inputs[1] = 1
    content = quantize_weights(packed(tree), _rounds(8), _rounds(8))
    assert _find(content, "table")[0].type == FLOAT32
    assert _find(quantize_weights(model, _rounds(8), _rounds(8)), "table")[0].type != FLOAT32


def test_two_layers_with_one_tensor_of_weights(tree: Any, tmp_path: Path) -> None:
    subgraph = tree.subgraphs[0]
    subgraph.tensors.append(tensor("again", [1, TOKENS, UNITS], FLOAT32))
    subgraph.operators.append(_dense(1, [2, 3, -1], 7))
    content = quantize_weights(packed(tree), _rounds(8))
    convolutions = [kind for kind, _ in _versions(content) if kind == BUILTIN.CONV_2D]
    assert len(convolutions) == 3
    assert _error(_run(Board(runtime="litert"), content, tmp_path), TABLE, WEIGHTS) < 0.02


def test_what_is_left_is_left(model: bytes) -> None:
    content = quantize_weights(model, _leaves, _leaves)
    assert _find(content, "dense/weights")[1] == WEIGHTS.tobytes()
    assert _versions(content) == _versions(model)


def test_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="not a TensorFlow Lite model"):
        quantize_weights(b"something else", _rounds(4))


@each_runtime
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
