"""The error of each layer: matching, running, figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import each_runtime

from tfedge.errors import InputError, RejectedModelError
from tfedge.inspect.graph import ModelFile, Signature, read_model
from tfedge.inspect.inputs import model_inputs
from tfedge.inspect.layers import layer_name, layer_outputs
from tfedge.inspect.noise import LayerNoise, compare
from tfedge.measure.board import Board
from tfedge.runtime.bundle import read_bundle

LAYERS = {
    "bert/pooler.dense/BiasAdd;bert/pooler.dense/Conv2D;x1": "bert/pooler.dense",
    "bert/norm.variance.clip/clip_by_value/Minimum;bert/norm.variance/Reshape": "bert/norm.variance",
    "bert/key.quant/FakeQuantWithMinMaxArgs": "bert/key",
    ";bert/sum/add": "bert/sum",
    "StatefulPartitionedCall:0": "StatefulPartitionedCall:0",
    "": "",
}


@pytest.mark.parametrize("tensor", LAYERS)
def test_layer_of_a_tensor(tensor: str) -> None:
    assert layer_name(tensor) == LAYERS[tensor]


def opened(path: Path, key: str | None = None) -> tuple[ModelFile, Signature]:
    model = read_model(path)
    signature = model.signature(key)
    assert signature is not None
    return model, signature


def test_outputs_of_layers(tree: object, make_file: Callable[[object], Path]) -> None:
    model, signature = opened(make_file(tree))
    found = layer_outputs(model.subgraphs[0], signature)
    assert found["net/act"] == (2, 4)
    assert found["logits (output)"] == (6, 9)
    assert "StatefulPartitionedCall:0" not in found


def run(
    path: Path, against: Path, runtime: str, key: str | None = None
) -> tuple[list[LayerNoise], list[str]]:
    model, signature = opened(path, key)
    inputs, _ = model_inputs(model, signature, read_bundle(path), None, 3)
    done: list[int] = []
    result = compare(
        (model, signature), opened(against, key), inputs, Board(runtime=runtime), done.append
    )
    assert sum(done) == 6
    return result


@each_runtime
def test_integers_against_float(toys: Path, runtime: str) -> None:
    found = {
        layer.layer: layer
        for layer in run(toys / "int8_output.tflite", toys / "classifier.tflite", runtime)[0]
    }
    # The table's step is its range / 255, so its error is about that / sqrt(12).
    table = found["GatherV2"]
    assert table.snr_db is not None and 35 < table.snr_db < 55
    assert table.cosine is not None and 0.999 < table.cosine < 1
    assert table.error == pytest.approx(8 / 255 / 12**0.5, rel=0.7)
    assert {"mul", "add", "Sum", "logits (output)"} <= set(found)


@each_runtime
def test_a_model_against_itself(toys: Path, runtime: str) -> None:
    """Every layer is there, though a runtime would write over most of them."""
    path = toys / "buckets.tflite"
    layers, unmatched = run(path, path, runtime, "short")
    assert unmatched == []
    model, signature = opened(path, "short")
    assert len(layers) == len(model.subgraphs[signature.subgraph].operators)
    assert {(layer.snr_db, layer.error) for layer in layers} == {(None, 0.0)}


@each_runtime
def test_figures(toys: Path, runtime: str, tmp_path: Path) -> None:
    """Against a float model whose table is another: all figures by hand."""
    path, other = toys / "classifier.tflite", tmp_path / "other.tflite"
    content = bytearray(path.read_bytes())
    position = content.index(np.float32(4).tobytes())  # how good "good" is, the first such word
    content[position : position + 4] = np.float32(3).tobytes()
    other.write_bytes(content)
    model, reference = opened(path), opened(other)
    good = read_bundle(path)
    texts = tmp_path / "texts.txt"
    texts.write_text("good\n")
    inputs, source = model_inputs(*model, good, str(texts), 5)
    assert source == str(texts)
    assert inputs["input_ids"].shape == (1, 16)  # one text, repeated until the row is full
    assert inputs["attention_mask"].all()
    layers, _ = compare(model, reference, inputs, Board(runtime=runtime), lambda count: None)
    by_name = {layer.layer: layer for layer in layers}
    actual, true = 4 * 14, 3 * 14  # "good" 14 times between [CLS] and [SEP]
    logits = by_name["logits (output)"]
    assert logits.error == pytest.approx(actual - true)
    assert logits.signal == pytest.approx(true)
    assert logits.snr_db == pytest.approx(20 * np.log10(true / (actual - true)))
    assert logits.cosine == pytest.approx(1)


def test_batches_change_nothing(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = toys / "int8_output.tflite", toys / "classifier.tflite"
    together, _ = run(*paths, "litert")
    monkeypatch.setattr("tfedge.inspect.noise._BATCH_BYTES", 1)
    assert run(*paths, "litert")[0] == [
        LayerNoise(
            layer.layer,
            layer.operator,
            pytest.approx(layer.snr_db),
            pytest.approx(layer.cosine),
            pytest.approx(layer.error),
            pytest.approx(layer.signal),
        )
        for layer in together
    ]


def test_a_row_that_fills_the_memory(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfedge.inspect.noise._ROW_BYTES", 100)
    with pytest.raises(InputError, match="take a shorter --signature"):
        run(toys / "int8.tflite", toys / "classifier.tflite", "litert")


def test_models_of_different_layers(
    toys: Path, tree: object, make_file: Callable[[object], Path]
) -> None:
    model = opened(toys / "classifier.tflite")
    other = opened(make_file(tree))
    with pytest.raises(InputError, match="no layer of one name and shape"):
        compare(model, other, {}, Board(runtime="litert"), lambda count: None)


def test_a_refused_model_goes_by_its_own_name(toys: Path) -> None:
    path = toys / "lacking.tflite"
    with pytest.raises(RejectedModelError, match="Betainc") as raised:
        run(path, path, "litert")
    assert str(path) in str(raised.value)
    assert "/opened.tflite" not in str(raised.value)


def test_shape_that_only_the_run_shows(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = iter(((3, 1, 16), (3, 1, 8)))

    def tensors(board: Board, path: Path, entry: object, *rest: Any) -> list[np.ndarray]:
        shape = next(shapes)
        return [np.zeros(shape, np.float32) for _ in rest[1]]

    monkeypatch.setattr(Board, "tensors", tensors)
    path = toys / "classifier.tflite"
    with pytest.raises(InputError, match="whatever the files say"):
        run(path, path, "litert")


def test_numbers_that_are_not_finite(toys: Path, tmp_path: Path) -> None:
    content = bytearray((toys / "classifier.tflite").read_bytes())
    position = content.index(np.float32(4).tobytes())
    content[position : position + 4] = np.float32("inf").tobytes()
    path, texts = tmp_path / "inf.tflite", tmp_path / "texts.txt"
    path.write_bytes(content)
    texts.write_text("good\n")
    model = opened(toys / "classifier.tflite")
    inputs, _ = model_inputs(*model, read_bundle(toys / "classifier.tflite"), str(texts), 1)
    with pytest.raises(InputError, match="values that are not finite"):
        compare(opened(path), model, inputs, Board(runtime="litert"), lambda count: None)


# --- inputs


def test_arrays_as_inputs(toys: Path, tmp_path: Path) -> None:
    model, signature = opened(toys / "classifier.bare.tflite")
    arrays = {name: np.full((3, 16), 7, np.int32) for name in signature.inputs}
    path = tmp_path / "inputs.npz"
    np.savez(path, **arrays)
    inputs, source = model_inputs(model, signature, None, str(path), 2)
    assert source == str(path)
    assert {name: array.shape for name, array in inputs.items()} == dict.fromkeys(arrays, (2, 16))


def test_inputs_that_do_not_fit(toys: Path, tmp_path: Path) -> None:
    model, signature = opened(toys / "classifier.bare.tflite")
    with pytest.raises(InputError, match=r"has no tokeniser.*--data FILE\.npz"):
        model_inputs(model, signature, None, None, 2)
    bundle = read_bundle(toys / "classifier.tflite")
    images = dataclasses.replace(signature, inputs={"pixels": 0})
    with pytest.raises(InputError, match=r"takes no texts.*\['pixels'\]"):
        model_inputs(model, images, bundle, None, 2)
    path = tmp_path / "inputs.npz"
    np.savez(path, input_ids=np.zeros((1, 16), np.int32))
    with pytest.raises(InputError, match="lacks the inputs"):
        model_inputs(model, signature, None, str(path), 2)
    np.savez(path, **{name: np.zeros((0, 16), np.int32) for name in signature.inputs})
    with pytest.raises(InputError, match="at least 1"):
        model_inputs(model, signature, None, str(path), 2)
    path.write_text("junk")
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        model_inputs(model, signature, None, str(path), 2)
    np.savez(path, **{name: np.zeros((1, 9), np.int32) for name in signature.inputs})
    inputs, _ = model_inputs(model, signature, None, str(path), 2)
    with pytest.raises(RejectedModelError, match=r"is \(1, 16\), not \(1, 9\)"):
        compare((model, signature), (model, signature), inputs, Board(runtime="litert"), print)
