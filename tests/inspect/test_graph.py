"""Reading models of any origin: what is in them, and one line for those that lie."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from trees import INT8, packed, quantized, tensor

from tfedge.errors import InputError
from tfedge.inspect.contents import contents
from tfedge.inspect.graph import Signature, Tensor, read_model


def message(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        read_model(path)
    text = str(raised.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


def test_model_by_hand(tree: Any, make_file: Any) -> None:
    model = read_model(make_file(tree))
    (subgraph,) = model.subgraphs
    assert [operator.name for operator in subgraph.operators] == [
        *("GATHER", "DEQUANTIZE", "GELU", "RSQRT", "QUANTIZE", "CONV_2D", "SUM", "CAST")
    ]
    assert [operator.version for operator in subgraph.operators] == list(range(1, 9))
    assert subgraph.operators[5].inputs == (6, 7, -1)
    name = "net/look_up/Gather;net/table"
    assert subgraph.tensors[2] == Tensor(name, (1, 6, 1, 4), "INT8", 0.5, -3, None)
    assert subgraph.tensors[1].constant_bytes == 36
    assert model.signatures == [Signature("serve", 0, {"ids": 0}, {"logits": 9})]
    assert model.constants == {"INT8": 60}
    assert (model.description, subgraph.inputs, subgraph.outputs) == ("by hand", (0,), (9,))


def test_same_as_the_converters_reading(toys: Path) -> None:
    path = toys / "buckets.tflite"
    model, expected = read_model(path), contents(path.read_bytes())
    found = [operator.name for part in model.subgraphs for operator in part.operators]
    assert len(found) == sum(expected.operators.values())
    assert set(found) == set(expected.versions)
    assert model.constants == expected.constants
    assert [signature.key for signature in model.signatures] == ["serving_default", "short"]


def test_range_and_size() -> None:
    def of(dtype: str, zero_point: int) -> Tensor:
        return Tensor("x", (2, 3), dtype, 0.5, zero_point, None)

    assert of("INT8", -3).range == (-62.5, 65.0)
    assert of("UINT8", 128).range == (-64.0, 63.5)
    assert of("INT16", 0).range == (-16384.0, 16383.5)
    assert Tensor("x", (2, 3), "FLOAT32", None, None, None).range is None
    assert [of(dtype, 0).bytes for dtype in ("INT4", "INT8", "INT64", "STRING")] == [3, 6, 48, 0]


def test_signature_by_key(toys: Path) -> None:
    model = read_model(toys / "buckets.tflite")
    assert model.signature(None) == model.signatures[0]
    assert model.signature("short") == model.signatures[1]
    with pytest.raises(InputError, match="no signature 'long'; it has 'serving_default', 'short'"):
        model.signature("long")


def test_old_file_without_signatures(tree: Any, make_file: Any) -> None:
    tree.signatureDefs = None
    assert read_model(make_file(tree)).signature(None) is None


@pytest.mark.parametrize("name", ["missing.tflite", "folder", "text", "empty"])
def test_what_is_no_model(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("hello world" * 9)
    (tmp_path / "empty").touch()
    words = {"missing.tflite": "no such file", "folder": "not a file", "empty": "empty"}
    assert words.get(name, "not a TensorFlow Lite model") in message(tmp_path / name)


def test_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a file" in message(tmp_path / "pipe")


def test_any_truncation_is_found(tree: Any, make_file: Any) -> None:
    content = packed(tree)
    for length in range(8, len(content) - 24, 24):
        text = message(make_file(content[:length]))
        assert "damaged" in text or "truncated" in text


def test_weights_cut_off(toys: Path, make_file: Any) -> None:
    """A buffer that claims to be longer than the file; where it lies does not matter."""
    content = bytearray((toys / "classifier.bare.tflite").read_bytes())
    root = schema.Model.GetRootAsModel(bytes(content), 0)
    tables = [root.Buffers(index)._tab for index in range(root.BuffersLength())]
    table = next(table for table in tables if table.Offset(4))
    struct.pack_into("<I", content, table.Vector(table.Offset(4)) - 4, 0x7FFFFFFF)
    assert "weights are missing at its end" in message(make_file(bytes(content)))


def vector_length(content: bytes, slot: int) -> int:
    """Where the length of a vector of the first subgraph stands."""
    table = schema.Model.GetRootAsModel(content, 0).Subgraphs(0)._tab
    return int(table.Vector(table.Offset(slot)) - 4)


@pytest.mark.parametrize("slot", [4, 10])  # tensors, operators
def test_no_length_is_believed(tree: Any, make_file: Any, slot: int) -> None:
    content = bytearray(packed(tree))
    struct.pack_into("<I", content, vector_length(bytes(content), slot), 0xFFFFFFFF)
    assert "too large to inspect" in message(make_file(bytes(content)))


def test_names_that_unfold(tree: Any, make_file: Any) -> None:
    """Many tensors with one long name: small on the disk, large in memory."""
    content = bytearray(packed(tree))
    subgraph = schema.Model.GetRootAsModel(bytes(content), 0).Subgraphs(0)
    for index in range(subgraph.TensorsLength()):
        table = subgraph.Tensors(index)._tab
        start = table.Vector(table.Offset(10))
        struct.pack_into("<I", content, start - 4, len(content) - start)
    assert "names are longer than the file" in message(make_file(bytes(content)))


def test_impossible_contents(tree: Any, make_file: Any) -> None:
    tensors, operators = tree.subgraphs[0].tensors, tree.subgraphs[0].operators
    operators[0].inputs = [1, 99]
    assert "tensor 99 of 11" in message(make_file(tree))
    operators[0].inputs = [1, 0]
    operators[0].outputs = [-1]
    assert "'GATHER' has an absent output" in message(make_file(tree))
    operators[0].outputs = [2]
    tensors[3] = tensor("x", [1 << 30, 1 << 30, 1 << 30], INT8)
    assert "has the shape" in message(make_file(tree))
    tensors[3] = tensor("x", [-5], INT8)
    assert "has the shape [-5]" in message(make_file(tree))
    tensors[3] = tensor("x", [1], INT8, quantization=quantized([float("nan")], [0]))
    assert "has the scale nan" in message(make_file(tree))
    tensors[3] = tensor("x", [1], INT8)
    tree.signatureDefs[0].subgraphIndex = 7
    assert "a signature of graph 7 of 1" in message(make_file(tree))
    tree.signatureDefs = None
    tree.subgraphs = []
    assert "no graph" in message(make_file(tree))


def test_random_damage_is_one_line_or_none(tree: Any, make_file: Any) -> None:
    good, generator = packed(tree), random.Random(0)
    refused = 0
    for _ in range(300):
        content = bytearray(good)
        for _ in range(generator.randint(1, 6)):
            position = generator.randrange(8, len(good) - 4)
            content[position : position + 4] = generator.randrange(1 << 32).to_bytes(4, "little")
        path = make_file(bytes(content))
        try:
            read_model(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 30 < refused < 300
