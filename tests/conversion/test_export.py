"""The float model for other runtimes: written, run and compared, or not kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders
import toy_images
from bars import Bars

from tfedge.conversion import export as exporting
from tfedge.conversion.export import ONNX_FILE, REPORT, ExportOptions, export
from tfedge.errors import InputError, RejectedModelError
from tfedge.records import as_json

# What TensorRT 8.2 has no operator for, of what tf2onnx makes of encoders by itself.
NOT_IN_TENSORRT = {"Reciprocal", "Erfc"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_folders.write_folder(tmp_path / "toy", small=True)


def test_saved_model(folder: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    options = ExportOptions("saved-model", tmp_path / "out", sequence_length=16)
    report = as_json(export(str(folder), options, Bars()))
    assert json.loads((tmp_path / "out" / REPORT).read_text()) == report
    assert report["largest_difference"] < 1e-5
    assert report["outputs"] == ["logits"]
    signature = tf.saved_model.load(str(tmp_path / "out")).signatures["serving_default"]
    shapes = {
        name: list(spec.shape) for name, spec in signature.structured_input_signature[1].items()
    }
    assert shapes == {key: [1, 16] for key in ("input_ids", "attention_mask", "token_type_ids")}
    assert {"tokenizer.json", "config.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match="exists; choose another --output"):
        export(str(folder), options, Bars())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "toy"]


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "mobilebert"])
def test_onnx_for_tensorrt(tmp_path: Path, architecture: str) -> None:
    pytest.importorskip("tf2onnx", reason="pip install 'tf2onnx>=1.17,<2' onnxruntime")
    onnx = pytest.importorskip("onnx")
    folder = toy_folders.write_folder(tmp_path / "toy", architecture, small=True)
    options = ExportOptions("onnx", tmp_path / "out", sequence_length=16)
    report = as_json(export(str(folder), options, Bars()))
    assert report["largest_difference"] < 1e-5
    model = onnx.load(tmp_path / "out" / ONNX_FILE)
    onnx.checker.check_model(model, full_check=True)
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [13]
    assert not {node.op_type for node in model.graph.node} & NOT_IN_TENSORRT
    shapes = [
        [size.dim_value for size in item.type.tensor_type.shape.dim] for item in model.graph.input
    ]
    assert shapes == [[1, 16]] * len(report["inputs"])


@pytest.mark.parametrize("name", ["vit", "deit", pytest.param("swin", marks=pytest.mark.slow)])
def test_onnx_of_images(tmp_path: Path, name: str) -> None:
    """Pixels go in as a camera gives them, and come out as the checkpoint answers them."""
    pytest.importorskip("PIL")
    pytest.importorskip("tf2onnx", reason="pip install 'tf2onnx>=1.17,<2' onnxruntime")
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    folder = toy_images.write_folder(tmp_path / "toy", name, teacher=name == "deit")
    report = as_json(
        export(str(folder), ExportOptions("onnx", tmp_path / "out", dynamic=True), Bars())
    )
    assert report["inputs"] == {"pixel_values": ["float32", None, 24, 24, 3]}
    assert report["largest_difference"] < 1e-5
    model = onnx.load(tmp_path / "out" / ONNX_FILE)
    assert not {node.op_type for node in model.graph.node} & NOT_IN_TENSORRT
    session = runtime.InferenceSession(
        tmp_path / "out" / ONNX_FILE, providers=["CPUExecutionProvider"]
    )
    images, numbers = toy_images.drawn(9, seed=1)
    inputs = {"pixel_values": np.stack(images).astype(np.float32)}
    (logits,) = session.run(report["outputs"], inputs)
    assert np.mean(logits.argmax(-1) == numbers) > 0.8
    assert (tmp_path / "out" / "preprocessor_config.json").is_file()


def test_saved_model_of_images(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    folder = str(toy_images.write_folder(tmp_path / "toy"))
    report = as_json(export(folder, ExportOptions("saved-model", tmp_path / "out"), Bars()))
    assert report["inputs"] == {"pixel_values": ["float32", 1, 24, 24, 3]}
    assert report["largest_difference"] < 1e-5
    with pytest.raises(InputError, match="an image of a vit always has 10 tokens; leave out --seq"):
        export(folder, ExportOptions("saved-model", tmp_path / "other", 16), Bars())
    assert not (tmp_path / "other").exists()


def test_onnx_of_any_shape(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx", reason="pip install 'tf2onnx>=1.17,<2' onnxruntime")
    runtime = pytest.importorskip("onnxruntime")
    folder = toy_folders.write_folder(tmp_path / "toy", task="sentence-embedding", small=True)
    export(str(folder), ExportOptions("onnx", tmp_path / "out", 16, dynamic=True), Bars())
    session = runtime.InferenceSession(
        tmp_path / "out" / ONNX_FILE, providers=["CPUExecutionProvider"]
    )
    inputs = {item.name: np.ones((3, 7), np.int32) for item in session.get_inputs()}
    (embeddings,) = session.run(None, inputs)
    assert embeddings.shape == (3, 32)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=-1), 1, atol=1e-5)


def test_what_computes_otherwise_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = exporting._write

    def wrong(*arguments: Any) -> Any:
        run = write(*arguments)
        return lambda inputs: {name: value + 0.1 for name, value in run(inputs).items()}

    monkeypatch.setattr(exporting, "_write", wrong)
    kept = tmp_path / "out"
    kept.mkdir()
    (kept / "older").touch()
    with pytest.raises(RejectedModelError, match="differs from Keras by 0"):
        export(str(folder), ExportOptions("saved-model", kept, 16, force=True), Bars())
    assert [path.name for path in kept.iterdir()] == ["older"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "toy"]
    monkeypatch.undo()
    export(str(folder), ExportOptions("saved-model", kept, 16, force=True), Bars())
    assert not (kept / "older").exists()
