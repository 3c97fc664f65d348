"""`--keep-reference` writes the float model that `tfedge inspect` measures layers against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy_folders
from bars import Bars
from conversions import converted, several_lengths
from once import Once
from program import each_runtime

from tfedge.inspect.report import InspectOptions, inspect
from tfedge.runtime.bundle import read_bundle


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts to calibrate and to measure on."""
    return toy_folders.write_sentences(tmp_path_factory.mktemp("data") / "toy.tsv", 24)


@pytest.fixture(scope="module")
def folder_of(
    tmp_path_factory: pytest.TempPathFactory, data: Path, once: Once
) -> Callable[[str], Path]:
    """Converts a toy BERT by a mode's name; its reference lies beside it."""
    source = toy_folders.write_folder(tmp_path_factory.mktemp("toy") / "toy", small=True)
    return lambda mode: converted(once, source, several_lengths(mode, data))


@pytest.fixture(scope="module")
def noise_of(folder_of: Callable[[str], Path], data: Path) -> Callable[..., Any]:
    """Measures a mode against its reference."""

    def noise(mode: str, runtime: str, key: str | None = None) -> Any:
        path = folder_of(mode) / f"toy_{mode}.tflite"
        against = folder_of(mode) / f"toy_{mode}_reference.tflite"
        return inspect(path, InspectOptions(key, against, str(data), 4, runtime), Bars()).noise

    return noise


@pytest.mark.parametrize("mode", ["int8", "float16"])
def test_files(folder_of: Callable[[str], Path], mode: str) -> None:
    names = [f"toy_{mode}{end}" for end in (".json", ".tflite", "_reference.tflite")]
    assert sorted(path.name for path in folder_of(mode).iterdir()) == names
    manifest = read_bundle(folder_of(mode) / f"toy_{mode}_reference.tflite").manifest
    assert manifest.quantization == "float32"
    assert dict(manifest.signatures) == {"serving_default": 16, "tokens_8": 8, "tokens_12": 12}


@each_runtime
@pytest.mark.parametrize("key", [None, "tokens_8"])
def test_every_layer_of_integers_has_its_float(
    noise_of: Callable[..., Any], runtime: str, key: str | None
) -> None:
    found = noise_of("int8", runtime, key)
    layers = {row.layer.partition("/")[2]: row for row in found.layers}
    # Only what the float graph has fused away.
    assert len(found.unmatched) < len(layers) / 10
    for name in ("embeddings.LayerNorm", "encoder.layer.0.output.sum", "pooler.dense"):
        assert layers[name].snr_db > 10
        assert layers[name].cosine > 0.95
    # SOFTMAX writes over its operand where nothing keeps that.
    scores = layers["encoder.layer.0.attention.self.masked_scores"]
    probabilities = layers["encoder.layer.0.attention.self.probabilities"]
    assert scores.signal != pytest.approx(probabilities.signal)
    assert scores.snr_db > 10


def test_half_precision_is_near(noise_of: Callable[..., Any]) -> None:
    measured = [row.snr_db for row in noise_of("float16", "litert").layers]
    assert min(value for value in measured if value is not None) > 40
