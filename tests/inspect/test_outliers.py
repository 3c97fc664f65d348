"""Channels and tokens far beyond the others: figures by hand, and a toy with such a word."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bars
import numpy as np
import pytest
from charts import needs_charts
from program import each_runtime
from toys import VOCABULARY, tokenizer_json

from tfedge.errors import InputError
from tfedge.inspect.graph import ModelFile, Operator, Signature, Subgraph, Tensor
from tfedge.inspect.outliers import (
    Channel,
    Layer,
    LayerOutliers,
    Token,
    Tokens,
    batches,
    float_layers,
    integer_layers,
    layer_outliers,
    tokens_of,
)
from tfedge.inspect.report import InspectOptions, inspect
from tfedge.inspect.result import Report
from tfedge.inspect.table import page, render
from tfedge.records import as_json
from tfedge.runtime.bundle import read_bundle
from tfedge.tflite.metadata import write_bundle
from tfedge.tflite.tflite_metadata import BundleSpec

T, C = 5, 10


def floats(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, "FLOAT32", None, None, None)


def some_tokens(real: np.ndarray) -> Tokens:
    return Tokens(real, lambda row, position: f"word {position}")


def found_in(
    array: np.ndarray, real: np.ndarray | None = None, own: Tensor | None = None
) -> LayerOutliers:
    """What is found in an array (n, 1, ...)."""
    layer = Layer("net/dense", 7, 9, floats("net/dense", *array.shape[1:]), own)
    real = np.ones((len(array), T), bool) if real is None else real
    return layer_outliers(layer, array.astype(np.float32), some_tokens(real))


# --- by hand


def test_a_channel_of_800_among_ones() -> None:
    values = np.ones((2, 1, T, C))
    values[..., 3] = 800
    found = found_in(values)
    assert (found.layer, found.operator, found.channels, found.tokens) == ("net/dense", 7, C, 2 * T)
    assert (found.outlier_channels, found.largest) == (1, [Channel(3, 800.0)])
    assert (found.channel_median, found.token_median, found.peak) == (1, 800, 800)
    assert (found.outlier_tokens, found.frequent) == (0, [])
    # A step is 800 / 255: 800 is exact, and each of the ones becomes 0.
    left = 10 * np.log10((800**2 + C - 1) / (C - 1))
    assert found.one_scale.snr_db == pytest.approx(left, abs=0.01)
    assert found.one_scale.token_snr_db == pytest.approx(left, abs=0.01)
    assert found.one_scale.range == pytest.approx((0, 800))
    assert found.own is None


def test_a_token_of_800_hides_what_the_others_lose() -> None:
    values = np.ones((2, 1, T, 1, C))
    values[:, :, 2, :, 3] = -800
    found = found_in(values)
    assert (found.outlier_tokens, found.frequent) == (2, [Token("word 2", 2)])
    ones = 2 * (T * C - 1)
    assert found.one_scale.snr_db == pytest.approx(10 * np.log10(2 * 800**2 / ones + 1), abs=0.1)
    assert found.one_scale.token_snr_db == pytest.approx(0)


def test_values_without_outliers() -> None:
    """Evenly spread they lose a step^2 / 12 each: 48 dB."""
    values = np.random.default_rng(0).uniform(-1, 1, (40, 1, T, C))
    found = found_in(values)
    assert (found.outlier_channels, found.outlier_tokens) == (0, 0)
    assert found.one_scale.snr_db == pytest.approx(10 * np.log10(255**2), abs=0.2)


def test_the_scale_of_the_file() -> None:
    own = Tensor("", (1, T, C), "INT8", 0.5, 0, None)
    found = found_in(np.full((1, 1, T, C), 0.6), own=own).own
    assert found is not None
    assert found.snr_db == pytest.approx(20 * np.log10(0.6 / 0.1), abs=1e-3)
    assert (found.dtype, found.range) == ("INT8", (-64.0, 63.5))
    clipped = found_in(np.full((1, 1, T, C), 127.0), own=own).own
    assert clipped is not None
    assert clipped.snr_db == pytest.approx(20 * np.log10(2))
    exact = found_in(np.full((1, 1, T, C), 2.5), own=own).own
    assert exact is not None
    assert (exact.snr_db, exact.token_snr_db) == (None, None)


def test_padding_has_no_say() -> None:
    values = np.random.default_rng(0).normal(size=(3, 1, T, C))
    real = np.arange(T) < 3
    padded = values.copy()
    padded[:, :, ~real] = np.nan
    padded[0, 0, 4, 1] = 1e6
    found = found_in(padded, np.tile(real, (3, 1)))
    assert found.tokens == 9
    assert found.peak == np.float32(np.abs(values[:, :, real]).max())
    padded[:, :, ~real] = 0
    assert found_in(padded, np.tile(real, (3, 1))) == found


def test_channels_of_heads_go_by_their_number_in_all() -> None:
    values = np.ones((1, 1, 2, T, 3))  # (rows, batch, heads, tokens, channels of a head)
    values[0, 0, 1, 4, 2] = 90
    found = found_in(values)
    assert (found.channels, found.tokens) == (6, T)
    assert found.largest == [Channel(5, 90.0)]
    assert found.frequent == [Token("word 4", 1)]


def test_a_vector_a_text_is_no_token() -> None:
    values = np.ones((9, 1, C))
    values[4] = 100
    found = found_in(values)
    assert (found.tokens, found.outlier_tokens, found.outlier_channels) == (9, 0, 0)


def test_a_dead_layer() -> None:
    found = found_in(np.zeros((1, 1, T, C)))
    assert (found.peak, found.channel_median, found.outlier_channels) == (0, 0, 0)
    assert (found.one_scale.snr_db, found.one_scale.token_snr_db) == (None, None)


def test_only_some_are_named() -> None:
    values = np.ones((1, 1, T, 40))
    values[..., :7] = 9 + np.arange(7)
    found = found_in(values)
    assert found.outlier_channels == 7
    assert [channel.index for channel in found.largest] == [6, 5, 4, 3, 2]


def test_numbers_that_are_not_finite() -> None:
    values = np.ones((1, 1, T, C))
    values[0, 0, 0, 0] = np.inf
    with pytest.raises(InputError, match="'net/dense' has values that are not finite"):
        found_in(values)


# --- which layers


SHAPES = {
    "hidden": (1, T, C),
    "convolved": (1, T, 1, T),
    "heads": (1, 2, T, 3),
    "variance": (1, T, 1, 1),
    "pooled": (1, C),
    "mask": (1, T),
    "scores": (1, 2, T, T),
    "scores of one token": (1, 2, 1, T),
    "keys": (1, 2, 3, T),
    "folded": (2, T, T),
    "number": (1, 1),
}


def graph_of(*tensors: Tensor, operator: str = "ADD") -> tuple[ModelFile, Signature]:
    operators = [Operator(operator, 1, (), (index,)) for index in range(len(tensors))]
    subgraph = Subgraph(list(tensors), operators, (), ())
    return ModelFile("x.tflite", 1, "", [subgraph], [], {}), Signature("serve", 0, {}, {})


def test_layers_with_channels() -> None:
    tensors = [floats(name, *shape) for name, shape in SHAPES.items()]
    model, signature = graph_of(*tensors)
    tokens = some_tokens(np.ones((1, T), bool))
    names = [layer.name for layer in float_layers((model, signature), None, tokens)]
    assert names == ["hidden", "convolved", "heads", "variance", "pooled"]
    pixels = [floats("conv", 1, 8, 8, 3), floats("sum", 1, 8, 8, 1)]
    names = [layer.name for layer in float_layers(graph_of(*pixels), None, None)]
    assert names == ["conv"]


def test_what_was_integers_is_no_float_layer() -> None:
    model = graph_of(floats("hidden", 1, T, C), operator="DEQUANTIZE")
    with pytest.raises(InputError, match=r"has no float layer with channels.*--against"):
        float_layers(model, None, some_tokens(np.ones((1, T), bool)))


def test_integers_beside_float_are_counted() -> None:
    integers = Tensor("dense", (1, T, C), "INT8", 0.5, 0, None)
    counts = Tensor("count", (1, T), "INT32", None, None, None)
    model = graph_of(floats("hidden", 1, T, C), integers, counts)
    assert integer_layers(model) == 1
    assert [layer.name for layer in float_layers(model, None, None)] == ["hidden"]
    wide = graph_of(floats("dense", 1, T, 2 * C), floats("hidden", 1, T, C))
    assert [layer.own for layer in float_layers(wide, model, None)] == [None, None]
    (layer,) = float_layers(graph_of(floats("dense", 1, T, C)), model, None)
    assert layer.own == integers


def test_batches_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [Layer(str(i), i, i, floats("", 1, T, C), None) for i in range(3)]
    size = 4 * T * C * 6
    monkeypatch.setattr("tfedge.inspect.outliers._BATCH_BYTES", 2 * size)
    assert [len(part) for part in batches(layers, 6)] == [2, 1]
    monkeypatch.setattr("tfedge.inspect.outliers._TENSOR_BYTES", size - 1)
    with pytest.raises(InputError, match="take fewer --texts"):
        batches(layers, 6)


def test_tokens(toys: Path) -> None:
    ids = np.array([[2, 5, 3, 0], [2, 3, 0, 99_999]], np.int32)
    given = {"input_ids": ids, "attention_mask": np.array([[1, 1, 1, 0], [1, 1, 0, 0]])}
    tokens = tokens_of(given, read_bundle(toys / "classifier.tflite"))
    assert tokens is not None
    assert [tokens.name(0, position) for position in range(3)] == ["[CLS]", "good", "[SEP]"]
    assert tokens.name(1, 3) == "token 99999"
    assert tokens.real.sum() == 5
    bare = tokens_of({"input_ids": ids}, None)
    assert bare is not None
    assert (bare.real.all(), bare.name(0, 2)) == (True, "position 2")
    assert tokens_of({"pixels": np.zeros((1, 2, 2, 3))}, None) is None
    with pytest.raises(InputError, match="0 at every token"):
        tokens_of({**given, "attention_mask": np.zeros_like(ids)}, None)


# --- a toy


@pytest.fixture(scope="module")
def loud(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier, to which "good" is 800 in channel 0."""
    content = bytearray((toys / "classifier.bare.tflite").read_bytes())
    position = content.index(np.float32(4).tobytes())
    content[position : position + 4] = np.float32(800).tobytes()
    manifest = read_bundle(toys / "classifier.tflite").manifest
    spec = BundleSpec(
        name="loud",
        task=manifest.task,
        labels=manifest.labels,
        signatures=dict(manifest.signatures),
        runtimes=manifest.runtimes,
        quantization="float32",
        tokenizer_json=tokenizer_json(),
        vocab=VOCABULARY,
    )
    path = tmp_path_factory.mktemp("loud") / "loud.tflite"
    write_bundle(bytes(content), spec, path)
    return path


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("a good film\nwho is ada ?\n")
    return str(path)


@pytest.fixture(scope="module")
def report(loud: Path, toys: Path, texts: str) -> Report:
    """The integer toy, whose table knows no 800."""
    return report_of(toys / "int8_output.tflite", against=loud, data=texts)


def report_of(path: Path, **options: Any) -> Report:
    return inspect(path, InspectOptions(outliers=True, **options), bars.Bars())


def layer_of(report: Report, name: str) -> LayerOutliers:
    assert report.outliers is not None
    return next(layer for layer in report.outliers.layers if layer.layer == name)


@each_runtime
def test_a_word_stands_out(loud: Path, texts: str, runtime: str) -> None:
    made = bars.Bars()
    options = InspectOptions(outliers=True, data=texts, rows=2, runtime=runtime)
    report = inspect(loud, options, made)
    assert [(bar.done, bar.total) for bar in made] == [(2, 2)]
    content = as_json(report)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    outliers = report.outliers
    assert outliers is not None
    assert (outliers.float_model, outliers.data, outliers.rows) == (str(loud), texts, 2)
    assert (outliers.runtime, outliers.left_out) == (runtime, 0)
    table = layer_of(report, "GatherV2")
    assert table.largest == [Channel(0, 800.0)]
    assert table.frequent == [Token("good", 4)]
    assert table.token_median < 4
    assert table.one_scale.token_snr_db == pytest.approx(0, abs=0.5)
    assert table.one_scale.snr_db is not None and table.one_scale.snr_db > 40
    assert outliers.ranked[0].layer in ("GatherV2", "mul", "add")
    assert not {"Cast", "Cast_1"} & {layer.layer for layer in outliers.layers}


def test_with_the_scales_of_the_file(report: Report) -> None:
    own = layer_of(report, "GatherV2").own
    assert own is not None and own.snr_db is not None and own.token_snr_db is not None
    assert own.snr_db < 1  # 800 is clipped to 4
    assert own.token_snr_db > 30
    assert report.noise is not None


def test_padding_of_a_file_of_arrays(loud: Path, toys: Path, tmp_path: Path) -> None:
    good = 5
    ids = np.full((2, 16), good, np.int32)
    ids[:, :3] = (2, 11, 3)
    mask = (np.arange(16) < 3).astype(np.int32)[None].repeat(2, axis=0)
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    np.savez(tmp_path / "rows.npz", **given)
    found = layer_of(report_of(loud, data=str(tmp_path / "rows.npz")), "GatherV2")
    assert found.tokens == 6
    assert found.peak < 10
    np.savez(tmp_path / "rows.npz", **{**given, "attention_mask": np.ones_like(ids)})
    found = layer_of(report_of(loud, data=str(tmp_path / "rows.npz")), "GatherV2")
    assert (found.tokens, found.peak) == (32, 800)


def test_batches_change_nothing(
    loud: Path, texts: str, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfedge.inspect.outliers._BATCH_BYTES", 1)
    layers = report_of(loud, data=texts).outliers
    assert layers is not None
    for layer in layers.layers:
        assert layer.one_scale == layer_of(report, layer.layer).one_scale


@needs_charts
def test_words_and_page(report: Report) -> None:
    text = " ".join(render(report).split())
    assert "GatherV2: 1 of 4 channels (0) reaches 800, the median channel 2.7" in text
    assert "mostly 'good' (4)" in text
    assert "8 bits leave the median token 0.0 dB" in text
    assert "its scale in the file leaves the median token" in text
    assert "paths of their own" in text
    html = page(report)
    assert "<h2>Outliers</h2>" in html
    assert "reaches 800" in html


def test_words_where_there_are_none(toys: Path) -> None:
    text = render(report_of(toys / "classifier.tflite", rows=2))
    assert "No channel or token reaches more than 8 times" in text
    assert "paths of their own" not in text


def test_integers_are_refused_in_one_line(toys: Path) -> None:
    path = toys / "int8.tflite"
    command = [sys.executable, "-m", "tfedge.cli", "inspect", path, "--outliers"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"tfedge: {path} has no float layer with channels: give the float model")


def test_signature_is_needed(tree: Any, make_file: Callable[[Any], Path]) -> None:
    tree.signatureDefs = None
    with pytest.raises(InputError, match="--outliers runs it"):
        report_of(make_file(tree))
