"""Models read, joined and written: what is equal is stored once, and every tensor keeps its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from program import each_runtime

from tfedge.errors import InputError
from tfedge.inspect.copies import _prefix
from tfedge.measure.board import Board
from tfedge.progress import unheard
from tfedge.tflite.flatbuffer import MODEL_IDENTIFIER, _Builder, merge, pack, parse, share, text

WEIGHTS = np.arange(4096, dtype=np.int32).astype(np.int8)


def model() -> schema.ModelT:
    """Two subgraphs, each with a copy of its own of the same weights, and one of other weights."""
    tree = schema.ModelT()
    tree.version = 3
    tree.buffers = [schema.BufferT() for _ in range(5)]
    contents = (None, WEIGHTS, WEIGHTS.copy(), WEIGHTS[::-1].copy(), None)
    for buffer, content in zip(tree.buffers, contents, strict=True):
        buffer.data = content
    tree.subgraphs = []
    for buffers, scale in (((1, 0), 0.5), ((2, 3, 4), 0.25)):
        subgraph = schema.SubGraphT()
        subgraph.tensors = []
        for buffer in buffers:
            tensor = schema.TensorT()
            tensor.buffer = buffer
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.full(512, scale if buffer == 0 else 1.5, np.float32)
            tensor.quantization.zeroPoint = np.zeros(512, np.int64)
            subgraph.tensors.append(tensor)
        tree.subgraphs.append(subgraph)
    return tree


def packed(tree: schema.ModelT) -> bytes:
    builder = _Builder(1024)
    builder.Finish(tree.Pack(builder), MODEL_IDENTIFIER)
    return bytes(builder.Output())


def read(content: bytes) -> list[list[tuple[bytes, list[float]]]]:
    """Bytes and scales of every tensor."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    data = [b"" if buffer.data is None else bytes(buffer.data) for buffer in tree.buffers]
    return [
        [(data[tensor.buffer], list(tensor.quantization.scale)) for tensor in subgraph.tensors]
        for subgraph in tree.subgraphs
    ]


def test_shared_model_is_smaller_and_reads_the_same() -> None:
    tree = model()
    plain = packed(model())
    share(tree)
    shared = packed(tree)
    assert read(shared) == read(plain)
    # One copy of the weights, and of five sets of parameters (6144 bytes each) three are alike.
    assert len(tree.buffers) == 3
    assert len(plain) - len(shared) > 4096 + 3 * 6144


def _contents(toys: Path, *names: str) -> list[bytes]:
    return [(toys / f"{name}.bare.tflite").read_bytes() for name in names]


def _run(content: bytes, key: str, index: int, runtime: str, folder: Path) -> np.ndarray:
    """The first output of a signature for three texts."""
    tree, _ = parse(content)
    path = folder / "model.tflite"
    path.write_bytes(content)
    signature = tree.signatureDefs[index]
    ids = np.random.default_rng(0).integers(0, 60, (3, 16)).astype(np.int32)
    inputs = {name: np.ones_like(ids) for name in ("attention_mask", "token_type_ids")}
    indices = [signature.outputs[0].tensorIndex]
    entry = (key, signature.subgraphIndex)
    (output,) = Board(runtime=runtime).tensors(
        path, entry, {"input_ids": ids, **inputs}, indices, unheard
    )
    return output


@each_runtime
def test_each_signature_computes_what_its_model_did(
    toys: Path, runtime: str, tmp_path: Path
) -> None:
    """An integer model and two of float, whose operators and weights differ."""
    contents = _contents(toys, "int8", "classifier", "embedder")
    merged = merge(dict(zip(("first", "second", "third"), contents, strict=True)))
    for index, key in enumerate(("first", "second", "third")):
        alone = _run(contents[index], "serving_default", 0, runtime, tmp_path)
        together = _run(merged, key, index, runtime, tmp_path)
        np.testing.assert_array_equal(together, alone)


def test_equal_weights_are_there_once(toys: Path) -> None:
    (content,) = _contents(toys, "classifier")
    merged, _ = parse(merge({"a": content, "b": content}))
    assert [text(item.signatureKey) for item in merged.signatureDefs] == ["a", "b"]
    first, second = (
        [
            tensor.buffer
            for tensor in graph.tensors
            if merged.buffers[tensor.buffer].data is not None
        ]
        for graph in merged.subgraphs
    )
    assert first == second != []


def test_models_of_several_graphs_are_refused(toys: Path) -> None:
    (buckets,) = _contents(toys, "buckets")
    with pytest.raises(InputError, match="'a' has 2 graphs and 2 signatures"):
        merge({"a": buckets})
    with pytest.raises(InputError, match="no models"):
        merge({})


def _convolutions(*scales: float) -> schema.ModelT:
    """As many convolutions as scales, all of the same weights and biases."""
    tree = schema.ModelT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    tree.operatorCodes = [code]
    tree.buffers = [schema.BufferT() for _ in range(3)]
    tree.buffers[1].data, tree.buffers[2].data = WEIGHTS[:64], np.zeros(32, np.uint8)
    subgraph = schema.SubGraphT()
    subgraph.tensors, subgraph.operators = [], []
    for number, scale in enumerate(scales):
        for buffer, own in ((0, 0.5), (1, 0.125), (2, 0.0625), (0, scale)):
            tensor = schema.TensorT()
            tensor.buffer, tensor.shape = buffer, np.array([8, 8], np.int32)
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([own], np.float32)
            subgraph.tensors.append(tensor)
        operator = schema.OperatorT()
        operator.opcodeIndex = 0
        operator.inputs = np.arange(3, dtype=np.int32) + 4 * number
        operator.outputs = np.array([3 + 4 * number], np.int32)
        subgraph.operators.append(operator)
    tree.subgraphs = [subgraph]
    return tree


def test_operators_of_other_scales_have_biases_of_their_own() -> None:
    """XNNPACK's cache would give the second the scales of the first."""
    tree, _ = parse(pack(_convolutions(1.0, 2.0, 1.0, 2.0)))
    (graph,) = tree.subgraphs
    weights, biases = (
        [graph.tensors[operator.inputs[slot]].buffer for operator in graph.operators]
        for slot in (1, 2)
    )
    assert len(set(weights)) == 1
    assert biases[0] == biases[2] != biases[1] == biases[3]
    assert {bytes(tree.buffers[index].data) for index in biases} == {bytes(32)}
    again, _ = parse(pack(tree))
    assert len(again.buffers) == len(tree.buffers)


def test_beginnings_of_a_graph_have_biases_of_their_own() -> None:
    """What `tfedge inspect --time` runs: graphs that were made of the operators of one."""
    tree, _ = parse(pack(_convolutions(1.0, 2.0, 1.0, 2.0)))
    (graph,) = tree.subgraphs
    graph.outputs = graph.operators[-1].outputs
    tree.subgraphs = [_prefix(graph, end) for end in (2, 4)]
    made, _ = parse(pack(tree))
    for graph in made.subgraphs:
        tensors = [graph.tensors[operator.inputs[2]] for operator in graph.operators]
        assert tensors[0].buffer != tensors[1].buffer
