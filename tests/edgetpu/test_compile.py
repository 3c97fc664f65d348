"""Compiling with a stand-in for the vendor's compiler, which is not to be had everywhere."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner
from test_log import TOO_LARGE, UNREADABLE
from trees import CUSTOM, code, made, packed

from tfedge.cli import main
from tfedge.edgetpu import compile as module
from tfedge.edgetpu.carry import read_source
from tfedge.edgetpu.check import check
from tfedge.edgetpu.compile import compile_model, find_compiler
from tfedge.edgetpu.result import MAPPED, Check
from tfedge.errors import InputError, MissingPackageError, RejectedModelError
from tfedge.runtime.bundle import read_bundle
from tfedge.tflite.flatbuffer import parse

PAYLOAD = bytes(range(256)) * 3
Tell = Callable[..., None]


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Says what the stand-in does."""
    program = tmp_path / "edgetpu_compiler"
    script = Path(__file__).with_name("fake_compiler.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    program.chmod(0o755)
    told = tmp_path / "told.json"
    monkeypatch.setenv("EDGETPU_COMPILER", str(program))
    monkeypatch.setenv("FAKE_COMPILER", str(told))
    return lambda **what: told.write_text(json.dumps(what)) and None


def compiled(source: Path, folder: Path, left: set[int]) -> Path:
    """The file that the compiler would make if it left these operators, which must lead."""
    tree, _ = parse(read_source(source).flatbuffer)
    graph = tree.subgraphs[0]
    kept = [item for index, item in enumerate(graph.operators) if index in left]
    entering = [int(index) for item in kept for index in item.outputs] or list(graph.inputs)
    tree.operatorCodes.append(code(CUSTOM, 1, "edgetpu-custom-op"))
    custom = made(
        schema.OperatorT(),
        opcodeIndex=len(tree.operatorCodes) - 1,
        inputs=entering,
        outputs=list(graph.outputs),
        customOptions=np.frombuffer(PAYLOAD, np.uint8),
    )
    graph.operators = [*kept, custom]
    tree.signatureDefs = tree.metadata = None
    tree.subgraphs = [graph]
    path = folder / "compiled.tflite"
    path.write_bytes(packed(tree))
    return path


def said(report: Check, left: set[int]) -> str:
    """A log as the compiler prints it, of these operators left."""
    lines = ["Edge TPU Compiler version 16.0.384591198", "Number of Edge TPU subgraphs: 1"]
    lines += [f"Number of operations that will run on CPU: {len(left)}"]
    on_tpu = len(report.operators) - len(left)
    lines += [f"Number of operations that will run on Edge TPU: {on_tpu}"]
    lines += ["Operator                       Count      Status", ""]
    for row in report.operators:
        status = row.status if row.index in left else "Mapped to Edge TPU"
        lines.append(f"{row.operator:<31}{1:<11}{status}")
    return "\n".join(lines)


@pytest.fixture
def mappable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toys are BERT's, whose operators break the chain early; here all but the first are mapped."""
    real = module.check

    def all_but_the_first(path: Path) -> Check:
        report = real(path)
        left, *others = report.operators
        left = dataclasses.replace(left, class_="CPU", status="Operation not supported")
        mapped = [dataclasses.replace(row, class_="mapped", status=MAPPED) for row in others]
        return dataclasses.replace(report, operators=[left, *mapped])

    monkeypatch.setattr(module, "check", all_but_the_first)


@pytest.mark.usefixtures("mappable")
def test_bundle_is_carried_over(toys: Path, tmp_path: Path, tell: Tell) -> None:
    source, output = toys / "buckets.tflite", tmp_path / "out" / "x_edgetpu.tflite"
    tell(print=said(check(source), {0}), compiled=str(compiled(source, tmp_path, {0})))
    report = compile_model(source, output)
    before, after = read_bundle(source), read_bundle(output)
    assert after.tokenizer_json == before.tokenizer_json
    assert after.manifest.labels == before.manifest.labels
    assert list(after.manifest.signatures) == ["serving_default"]
    assert after.manifest.extra["edgetpu"]["mapped"] == report.mapped
    assert zipfile.ZipFile(output).namelist() == zipfile.ZipFile(source).namelist()
    tree, _ = parse(read_source(output).flatbuffer)
    assert bytes(tree.subgraphs[0].operators[-1].customOptions) == PAYLOAD
    (signature,) = tree.signatureDefs
    assert signature.signatureKey == b"serving_default"
    assert check(output).compiled is True
    assert report.differences == []
    assert output.with_suffix(".log").read_text().startswith("Edge TPU Compiler version 16")


def test_differences_are_told(toys: Path, tmp_path: Path, tell: Tell) -> None:
    """The stand-in maps all but the first operator, which is not what is predicted."""
    source = toys / "int8.tflite"
    predicted = check(source)
    tell(print=said(predicted, {0}), compiled=str(compiled(source, tmp_path, {0})))
    report = compile_model(source, tmp_path / "x_edgetpu.tflite")
    expected = {
        row.index for row in predicted.operators if (row.class_ == "CPU") != (not row.index)
    }
    assert expected
    assert {row.index for row in report.differences} == expected
    assert report.agrees is False


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"print": UNREADABLE, "code": 1}, "builtin opcode 'QUANTIZE' version '3'"),
        ({"print": TOO_LARGE, "code": 1}, "large activation tensors"),
        ({"signal": int(signal.SIGSEGV)}, r"crashed \(SIGSEGV\)"),
        ({"print": "done"}, r"failed \(exit code 0\): done"),
        ({"code": 3}, "it said nothing"),
    ],
)
def test_failures(
    toys: Path, tmp_path: Path, tell: Tell, what: dict[str, Any], message: str
) -> None:
    tell(**what)
    output = tmp_path / "x_edgetpu.tflite"
    with pytest.raises(RejectedModelError, match=message):
        compile_model(toys / "int8.tflite", output)
    assert not output.exists()


def test_timeout(toys: Path, tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0)
    tell(sleep=600)
    with pytest.raises(RejectedModelError, match="still running after 1 seconds"):
        compile_model(toys / "int8.tflite", tmp_path / "x.tflite", timeout=1)


def test_nothing_mapped(toys: Path, tmp_path: Path, tell: Tell) -> None:
    """Compiler 16 calls that a success: exit code 0, 0 subgraphs (google-coral/edgetpu#438)."""
    source = toys / "classifier.tflite"
    report = check(source)
    everything = set(range(len(report.operators)))
    tell(print=said(report, everything), compiled=str(source))
    with pytest.raises(RejectedModelError, match="mapped no operator"):
        compile_model(source, tmp_path / "x.tflite")


def test_other_outputs_are_noticed(toys: Path, tmp_path: Path, tell: Tell) -> None:
    report = check(toys / "int8.tflite")
    other = compiled(toys / "embedder.tflite", tmp_path, {0})
    tell(print=said(report, {0}), compiled=str(other))
    with pytest.raises(RejectedModelError, match=r"other (in|out)puts than the one given"):
        compile_model(toys / "int8.tflite", tmp_path / "x.tflite")


@pytest.mark.parametrize("path", ["", ".", "/"])
def test_no_file(path: str) -> None:
    with pytest.raises(InputError, match="not a file"):
        compile_model(Path(path))


def test_compiled_already(toys: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="compiled already"):
        compile_model(compiled(toys / "int8.tflite", tmp_path, {0}))


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        MissingPackageError, match=r"apt-get install -y edgetpu-compiler.*docker run"
    ) as raised:
        find_compiler(Path("/models/a b.tflite"))
    assert "-v /models:/work" in str(raised.value)
    assert "\n" not in str(raised.value)
    monkeypatch.setenv("EDGETPU_COMPILER", "/nowhere/compiler")
    with pytest.raises(MissingPackageError, match="EDGETPU_COMPILER=/nowhere/compiler"):
        find_compiler(Path("x.tflite"))


def test_command(toys: Path, tmp_path: Path, tell: Tell) -> None:
    source, output = toys / "int8.tflite", tmp_path / "x_edgetpu.tflite"
    tell(print=said(check(source), {0}), compiled=str(compiled(source, tmp_path, {0})))
    command = ["edgetpu", "compile", str(source), "--output", str(output)]
    text = CliRunner().invoke(main, command)
    assert text.exit_code == 0, text.output
    assert "operators mapped to the Edge TPU" in text.output
    assert "differs: " in text.output
    found = json.loads(CliRunner().invoke(main, [*command, "--json"]).output)
    assert found["compiler"] == "16.0.384591198"
