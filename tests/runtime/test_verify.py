"""Graphs with a right hash that lie: each is refused before a runtime, which would crash, sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import forge
import pytest
from ai_edge_litert import schema_py_generated as schema
from program import infer

from tfedge.runtime.verify import DamageError, verify

FAR = 2**31 - 1


def _changed(model: bytes, change: Callable[[Any], None]) -> bytes:
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(model), 0))
    change(tree)
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _set(place: str, value: Any) -> Callable[[Any], None]:
    """Changes what stands at `a.0.b` in a model's tree."""

    def change(tree: Any) -> None:
        *path, last = place.split(".")
        for name in path:
            tree = tree[int(name)] if name.lstrip("-").isdecimal() else getattr(tree, name)
        if last.isdecimal():
            tree[int(last)] = value
        else:
            setattr(tree, last, value)

    return change


GRAPH = "subgraphs.0"
# What is changed in the int8 toy -> what is said of it.
LIES: dict[str, tuple[Callable[[Any], None], str]] = {
    "graph of a signature": (_set("signatureDefs.0.subgraphIndex", 7), "a signature is of graph 7"),
    "far graph of one": (_set("signatureDefs.0.subgraphIndex", 2**32 - 1), "graph 4294967295"),
    "tensor of a signature": (_set("signatureDefs.0.inputs.0.tensorIndex", 5), "names tensor 5"),
    "output a resource": (_set(f"{GRAPH}.tensors.-1.type", 13), "type number 13"),
    "output a string": (_set(f"{GRAPH}.tensors.-1.type", 5), "type number 5"),
    "far buffer": (_set(f"{GRAPH}.tensors.3.buffer", 2**31), "in buffer 2147483648"),
    "other buffer": (_set(f"{GRAPH}.tensors.-1.buffer", 4), "has"),
    "far input": (_set(f"{GRAPH}.operators.0.inputs", [FAR]), "reads tensor 2147483647"),
    "input below": (_set(f"{GRAPH}.operators.0.inputs", [-2]), "reads tensor -2"),
    "absent input": (_set(f"{GRAPH}.operators.0.inputs", [-1]), "reads tensor -1"),
    "no input": (_set(f"{GRAPH}.operators.0.inputs", []), "has 0 inputs"),
    "no output": (_set(f"{GRAPH}.operators.0.outputs", []), "has 0 outputs"),
    "far output": (_set(f"{GRAPH}.operators.0.outputs", [FAR]), "makes tensor 2147483647"),
    "a loop": (_set(f"{GRAPH}.operators.0.outputs", [0]), "tensor 0 is filled twice"),
    "far output of a graph": (_set(f"{GRAPH}.outputs", [FAR]), "a graph names tensor 2147483647"),
    "output that nothing makes": (_set(f"{GRAPH}.operators", []), "no operator makes an output"),
    "far code": (_set(f"{GRAPH}.operators.0.opcodeIndex", FAR), "an operator has code 2147483647"),
    "unknown operator": (_set("operatorCodes.0.builtinCode", 118), "operator number 118"),
    "shape below": (_set(f"{GRAPH}.tensors.-1.shape", [1, -2]), "has the shape (1, -2)"),
    "huge shape": (_set(f"{GRAPH}.tensors.-1.shape", [FAR, FAR]), "bytes is to be computed"),
    "many sides": (_set(f"{GRAPH}.tensors.-1.shape", [1] * 99), "a tensor has the shape"),
    "no scale": (_set(f"{GRAPH}.tensors.-2.quantization", None), "integers has no scale"),
    "scale of no number": (
        _set(f"{GRAPH}.tensors.-2.quantization.scale", [float("nan")]),
        "no positive number",
    ),
    "far zero point": (
        _set(f"{GRAPH}.tensors.-2.quantization.zeroPoint", [2447164322]),
        "a zero point that is none of its numbers",
    ),
    "many scales": (_set(f"{GRAPH}.tensors.-2.quantization.scale", [1.0] * 5), "has 5 scales"),
    "variable": (_set(f"{GRAPH}.tensors.-1.isVariable", True), "is variable"),
    "name in no letters": (_set(f"{GRAPH}.tensors.0.name", b"\xff\xfe"), "is no UTF-8"),
    "signature in none": (_set("signatureDefs.0.signatureKey", b"\xff"), "is no UTF-8"),
    "weights elsewhere": (_set("buffers.1.offset", 999), "outside of the flatbuffer"),
}


@pytest.fixture(scope="module")
def model(toys: Path) -> bytes:
    return forge.split((toys / "int8_output.tflite").read_bytes())[0]


@pytest.mark.parametrize("kind", LIES)
def test_a_lie(model: bytes, kind: str) -> None:
    change, message = LIES[kind]
    spoilt = _changed(model, change)
    with pytest.raises(DamageError) as caught:
        verify(spoilt, len(spoilt))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["classifier", "int8", "buckets", "tagger", "reader", "lacking"])
def test_what_is_converted_passes(toys: Path, name: str) -> None:
    content = (toys / f"{name}.bare.tflite").read_bytes()
    verify(content, len(content))


def test_a_flatbuffer_that_points_elsewhere(model: bytes) -> None:
    """Each 4 bytes in turn lead far away: nothing but DamageError comes of it."""
    refused = 0
    for place in range(0, min(len(model), 2000), 4):
        for value in (b"\xff\xff\xff\x7f", b"\xf0\xff\xff\xff"):
            spoilt = model[:place] + value + model[place + 4 :]
            try:
                verify(spoilt, len(spoilt))
            except DamageError:
                refused += 1
    assert refused > 100
    for size in (0, 3, 8, 100, len(model) // 2):
        with pytest.raises(DamageError):
            verify(model, size)


def test_a_bundle_with_a_right_hash(toys: Path, tmp_path: Path) -> None:
    good = (toys / "classifier.tflite").read_bytes()
    spoilt = _changed(forge.split(good)[0], _set("signatureDefs.0.subgraphIndex", 7))
    path = tmp_path / "model.tflite"
    path.write_bytes(forge.with_graph(good, spoilt))
    result = infer("--model", path, "good")
    assert (result.code, result.lines, len(result.errors)) == (3, [], 1)
    assert "the graph is damaged, or made to do harm: a signature is of graph 7" in result.errors[0]


def test_what_has_passed_is_remembered(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        assert infer("--model", toys / "classifier.tflite", "good").code == 0
        (kept,) = (tmp_path / "cache" / "tfedge" / "verified").iterdir()
    assert kept.stat().st_size == 0
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # where nothing can be kept
    assert infer("--model", toys / "classifier.tflite", "good").code == 0
