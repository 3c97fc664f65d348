"""Equal buffers and quantisation parameters are stored once, and every tensor keeps its own."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfedge.tflite.flatbuffer import MODEL_IDENTIFIER, _Builder, share

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
