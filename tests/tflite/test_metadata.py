"""Writing bundles: what goes in comes out, the model stays what it was."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import flatbuffers.table
import numpy as np
import pytest
import toys as toy_builder
from ai_edge_litert import schema_py_generated as schema

from tfedge.errors import InputError
from tfedge.runtime.bundle import (
    LABELS_FILE,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    VOCABULARY_FILE,
    read_bundle,
)
from tfedge.tflite.metadata import set_runtimes, write_bundle
from tfedge.tflite.tflite_metadata import METADATA_IDENTIFIER, METADATA_NAME, BundleSpec

SPEC = BundleSpec(
    name="toy",
    task="text-classification",
    labels=toy_builder.LABELS,
    signatures={"short": 8, "serving_default": 16},
    runtimes=("litert", "tflite-runtime"),
    quantization="float32",
    tokenizer_json=toy_builder.tokenizer_json(),
    vocab=toy_builder.VOCABULARY,
)


@pytest.fixture
def model(toys: Path) -> bytes:
    """A model with two signatures and no metadata."""
    return (toys / "buckets.bare.tflite").read_bytes()


def test_describes_the_model(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "toy.tflite"
    content = write_bundle(model, SPEC, path)
    assert path.read_bytes() == content
    manifest = read_bundle(path).manifest
    assert manifest.inputs == ("attention_mask", "input_ids", "token_type_ids")
    assert manifest.outputs == ("logits",)
    assert manifest.signatures == SPEC.signatures
    assert manifest.max_length == 16
    assert manifest.labels == toy_builder.LABELS
    assert manifest.runtimes == SPEC.runtimes
    flatbuffer = content[: manifest.model_bytes]
    assert manifest.model_sha256 == hashlib.sha256(flatbuffer).hexdigest()


def test_equal_arguments_give_equal_bytes(model: bytes) -> None:
    content = write_bundle(model, SPEC)
    assert write_bundle(model, SPEC) == content
    # Written again, it replaces what it had written.
    assert write_bundle(content, SPEC) == content


def test_files_can_be_mapped_into_memory(model: bytes) -> None:
    """Uncompressed and at multiples of 4, as MediaPipe wants them."""
    content = write_bundle(model, SPEC)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        files = {member.filename: archive.read(member) for member in members}
    assert list(files) == [MANIFEST_FILE, TOKENIZER_FILE, VOCABULARY_FILE, LABELS_FILE]
    assert json.loads(files[TOKENIZER_FILE]) == json.loads(SPEC.tokenizer_json)
    assert files[VOCABULARY_FILE].decode().split("\n")[:-1] == list(toy_builder.VOCABULARY)
    assert files[LABELS_FILE].decode().split("\n")[:-1] == list(toy_builder.LABELS)
    for member in members:
        name, extra = struct.unpack_from("<HH", content, member.header_offset + 26)
        begin = member.header_offset + 30 + name + extra
        assert begin % 4 == 0
        assert content[begin : begin + member.file_size] == files[member.filename]


def constants(content: bytes) -> list[list[bytes]]:
    """The bytes of every tensor of every subgraph."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    data = [b"" if buffer.data is None else bytes(buffer.data) for buffer in tree.buffers]
    return [[data[tensor.buffer] for tensor in subgraph.tensors] for subgraph in tree.subgraphs]


def test_model_stays_what_it_was(model: bytes) -> None:
    content = write_bundle(model, SPEC)
    before, after = (schema.Model.GetRootAsModel(data, 0) for data in (model, content))
    assert after.SubgraphsLength() == before.SubgraphsLength() == 2
    keys = {after.SignatureDefs(i).SignatureKey() for i in range(after.SignatureDefsLength())}
    assert keys == {b"short", b"serving_default"}
    assert constants(content) == constants(model)
    names = [after.Metadata(i).Name() for i in range(after.MetadataLength())]
    assert names == [before.Metadata(i).Name() for i in range(before.MetadataLength())] + [
        METADATA_NAME.encode()
    ]


def test_weights_are_aligned(model: bytes) -> None:
    """TFLite's schema asks for 16 bytes; vector instructions may rely on it."""
    content = write_bundle(model, SPEC)
    root = schema.Model.GetRootAsModel(content, 0)
    starts = []
    for index in range(root.BuffersLength()):
        table = root.Buffers(index)._tab
        if slot := table.Offset(4):
            starts.append(table.Vector(slot))
    assert len(starts) > 3
    assert all(start % 16 == 0 for start in starts)


RUN = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

for path in sys.argv[1:]:
    interpreter = Interpreter(model_path=path)
    for key in sorted(interpreter.get_signature_list()):
        runner = interpreter.get_signature_runner(key)
        shapes = {name: item["shape"] for name, item in runner.get_input_details().items()}
        inputs = {name: np.arange(shape[1], dtype=np.int32)[None] for name, shape in shapes.items()}
        print(key, runner(**inputs)["logits"].tolist())
"""


def test_model_answers_as_before(model: bytes, tmp_path: Path) -> None:
    (tmp_path / "bare.tflite").write_bytes(model)
    write_bundle(model, SPEC, tmp_path / "bundle.tflite")
    done = subprocess.run(
        [sys.executable, "-c", RUN, tmp_path / "bare.tflite", tmp_path / "bundle.tflite"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[:2] == lines[2:]


class Table:
    """A table of a flatbuffer, read by the numbers of metadata_schema.fbs."""

    def __init__(self, content: bytes, position: int) -> None:
        self._table = flatbuffers.table.Table(content, position)

    def _slot(self, field: int) -> int:
        return int(self._table.Offset(4 + 2 * field))

    def text(self, field: int) -> str:
        return self._table.String(self._table.Pos + self._slot(field)).decode()

    def byte(self, field: int) -> int:
        if not (slot := self._slot(field)):
            return 0
        return int(self._table.Get(flatbuffers.number_types.Uint8Flags, self._table.Pos + slot))

    def table(self, field: int) -> Table:
        position = self._table.Pos + self._slot(field)
        return Table(self._table.Bytes, self._table.Indirect(position))

    def tables(self, field: int) -> list[Table]:
        if not (slot := self._slot(field)):
            return []
        first = self._table.Vector(slot)
        return [
            Table(self._table.Bytes, self._table.Indirect(first + 4 * index))
            for index in range(self._table.VectorLen(slot))
        ]


def metadata(content: bytes) -> Table:
    """The TFLite Metadata of a model."""
    root = schema.Model.GetRootAsModel(content, 0)
    (entry,) = [
        root.Metadata(index)
        for index in range(root.MetadataLength())
        if root.Metadata(index).Name() == METADATA_NAME.encode()
    ]
    data = bytes(root.Buffers(entry.Buffer()).DataAsNumpy())
    assert data[4:8] == METADATA_IDENTIFIER
    return Table(data, int(np.frombuffer(data, "<u4", 1)[0]))


def test_metadata_for_other_readers(model: bytes) -> None:
    content = write_bundle(model, SPEC)
    top = metadata(content)
    assert top.text(0) == "toy"
    assert top.text(7) == "1.1.0"  # min_parser_version
    assert [item.text(0) for item in top.tables(6)] == [MANIFEST_FILE, TOKENIZER_FILE]
    (subgraph,) = top.tables(3)
    # MediaPipe finds tensors by these names, and expects them in the order of the subgraph.
    names = {"attention_mask": "mask", "input_ids": "ids", "token_type_ids": "segment_ids"}
    first = schema.Model.GetRootAsModel(content, 0).Subgraphs(0)
    tensors = [first.Tensors(first.Inputs(i)).Name().decode() for i in range(3)]
    expected = [next(short for name, short in names.items() if name in item) for item in tensors]
    assert [item.text(0) for item in subgraph.tables(2)] == expected
    (output,) = subgraph.tables(3)
    (labels,) = output.tables(6)
    assert (output.text(0), labels.text(0), labels.byte(2)) == ("logits", LABELS_FILE, 2)
    (unit,) = subgraph.tables(5)
    assert unit.byte(0) == 4  # BertTokenizerOptions
    (vocabulary,) = unit.table(1).tables(0)
    assert (vocabulary.text(0), vocabulary.byte(2)) == (VOCABULARY_FILE, 5)


def test_without_vocabulary_and_labels(toys: Path) -> None:
    spec = dataclasses.replace(
        SPEC,
        task="sentence-embedding",
        labels=None,
        vocab=None,
        signatures={"serving_default": 16},
    )
    content = write_bundle((toys / "embedder.bare.tflite").read_bytes(), spec)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [MANIFEST_FILE, TOKENIZER_FILE]
    assert metadata(content).text(7) == "1.0.0"


def test_runtimes_can_be_corrected(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "toy.tflite"
    content = write_bundle(model, SPEC, path)
    set_runtimes(path, ["litert"])
    assert read_bundle(path).manifest.runtimes == ("litert",)
    assert path.read_bytes() == write_bundle(model, dataclasses.replace(SPEC, runtimes=("litert",)))
    set_runtimes(path, SPEC.runtimes)
    assert path.read_bytes() == content


def test_runtimes_of_what_is_no_bundle(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bare.tflite"
    path.write_bytes(model)
    with pytest.raises(InputError, match="not made by `tfedge convert`"):
        set_runtimes(path, ["litert"])
    assert path.read_bytes() == model


# What is wrong -> changed fields of the specification, what the message says.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no such signature": ({"signatures": {"other": 16}}, "it has .'serving_default', 'short'."),
    "other length": ({"signatures": {"short": 16}}, r"has shape \[1, 8\], not \[1, 16\]"),
    "no signature": ({"signatures": {}}, "signature"),
    "unknown task": ({"task": "dance"}, "'dance'"),
    "output of another task": ({"task": "sentence-embedding"}, "needs an output 'embedding'"),
    "no labels": ({"labels": None}, "needs at least 2 labels"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_specification_that_contradicts_the_model(model: bytes, tmp_path: Path, kind: str) -> None:
    changes, message = WRONG[kind]
    path = tmp_path / "toy.tflite"
    with pytest.raises(InputError, match=message):
        write_bundle(model, dataclasses.replace(SPEC, **changes), path)
    assert not path.exists()


def test_what_is_no_model() -> None:
    for content in (b"", b"hello" * 99):
        with pytest.raises(InputError, match="not a TensorFlow Lite model"):
            write_bundle(content, SPEC)
