"""`--keep-reference` writes the float model that `tfedge inspect` measures layers against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy_folders
from bars import Bars
from program import each_runtime

from tfedge.convert.convert import ConvertOptions, convert
from tfedge.inspect.report import InspectOptions, inspect
from tfedge.runtime.bundle import read_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy BERT in int8 and float16, with the references of both."""
    root = tmp_path_factory.mktemp("reference")
    source = toy_folders.write_folder(root / "toy", num_hidden_layers=1)
    data = toy_folders.write_sentences(root / "toy.tsv", 24)
    for quantization in ("int8", "float16"):
        options = ConvertOptions(
            quantization,
            16,
            (8,),
            calibration=str(data),
            max_drop=100.0,
            output=root / "out",
            keep_reference=True,
        )
        convert(str(source), options, Bars())
    return root / "out" / "toy"


def noise(folder: Path, quantization: str, runtime: str, key: str | None = None) -> Any:
    path = folder / f"toy_{quantization}.tflite"
    against = folder / f"toy_{quantization}_reference.tflite"
    data = str(folder.parents[1] / "toy.tsv")
    options = InspectOptions(key, against, data, 4, runtime)
    return inspect(path, options, Bars()).noise


def test_files(folder: Path) -> None:
    names = [
        f"toy_{mode}{end}"
        for mode in ("float16", "int8")
        for end in (".json", ".tflite", "_reference.tflite")
    ]
    assert sorted(path.name for path in folder.iterdir()) == names
    manifest = read_bundle(folder / "toy_int8_reference.tflite").manifest
    assert manifest.quantization == "float32"
    assert dict(manifest.signatures) == {"serving_default": 16, "tokens_8": 8}


@each_runtime
@pytest.mark.parametrize("key", [None, "tokens_8"])
def test_every_layer_of_integers_has_its_float(folder: Path, runtime: str, key: str | None) -> None:
    found = noise(folder, "int8", runtime, key)
    layers = {row.layer.partition("/")[2]: row for row in found.layers}
    # Only what the float graph has fused away.
    assert len(found.unmatched) < len(layers) / 10
    for name in ("embeddings.LayerNorm", "encoder.layer.0.output.sum", "pooler.dense"):
        assert layers[name].snr_db > 10
        assert layers[name]["cosine"] > 0.95
    # SOFTMAX writes over its operand where nothing keeps that.
    scores = layers["encoder.layer.0.attention.self.masked_scores"]
    probabilities = layers["encoder.layer.0.attention.self.probabilities"]
    assert scores["signal"] != pytest.approx(probabilities["signal"])
    assert scores.snr_db > 10


def test_half_precision_is_near(folder: Path) -> None:
    measured = [row.snr_db for row in noise(folder, "float16", "litert").layers]
    assert min(value for value in measured if value is not None) > 40
