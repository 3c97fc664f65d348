"""Results as the commands print them, of toys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bars
import pytest

from tfedge.data.texts import Texts
from tfedge.inspect.report import InspectOptions, inspect
from tfedge.measure.race import BenchOptions, bench
from tfedge.records import as_json

TEXTS = Texts(["a good film", "awful", "dull", "fine"], ["1", "0", "0", "1"], "toy.tsv")


def result(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def race(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three toys raced in LiteRT."""
    names = ["int8.tflite", "classifier.tflite", "buckets.tflite@16"]
    options = BenchOptions(runtimes=("litert",), threads=(1,), rounds=2)
    found = bench([str(toys / name) for name in names], TEXTS, options, bars.Bars())
    return result(tmp_path_factory.mktemp("race"), "bench.json", as_json(found))


@pytest.fixture(scope="session")
def inspected(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy with its error, its outliers and its times."""
    options = InspectOptions(
        against=toys / "classifier.tflite", rows=2, time_rounds=2, outliers=True
    )
    found = inspect(toys / "int8_output.tflite", options, bars.Bars())
    return result(tmp_path_factory.mktemp("model"), "inspect.json", as_json(found))


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instructions of two models on one board; one of them failed."""
    rows = [("a_int8.tflite", 16, 6.5), ("a_int8.tflite", 128, 58.4), ("onnx", 128, 113.0)]
    counts: list[dict[str, Any]] = [
        {"board": "rpi5", "runtime": "litert", "model": model, "tokens": tokens, "minsn": minsn}
        for model, tokens, minsn in rows
    ]
    counts.append({**counts[0], "model": "broken", "minsn": None, "error": "it crashed"})
    return result(tmp_path_factory.mktemp("counts"), "counts.json", {"counts": counts})


@pytest.fixture(scope="session")
def mission(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two architectures."""
    small = {"parameters": 14_400_000, "flops": 1_250_000_000, "speed_up": 20.0}
    large = {"parameters": 109_500_000, "flops": 22_350_000_000, "speed_up": 1.0}
    texts = {"data": "dev.tsv", "texts": 872, "minsn": 40.0, "speed_up": 80.0}
    models = {
        "tinybert": {**small, "minsn": {"float32": 233.0, "int8": 160.0}, "texts": texts},
        "bert-base": {**large, "minsn": {"float32": 3200.0}},
    }
    content = {"board": "rpi4", "tokens": 128, "base": "bert-base", "models": models}
    return result(tmp_path_factory.mktemp("mission"), "mission.json", content)


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of twenty labels, each of which is taken for the next one, the last three most."""
    names = [f"an intent whose name is long {index}" for index in range(20)]
    confusion = [[0] * 20 for _ in names]
    for index, row in enumerate(confusion):
        row[index], row[(index + 1) % 20] = 100 - index, index
    content = {
        "model": "intents_int8.tflite",
        "runtime": "litert",
        "data": "test.tsv",
        "texts": 2000,
        "accuracy": 0.905,
        "macro_f1": 0.9,
        "labels": names,
        "confusion": confusion,
    }
    return result(tmp_path_factory.mktemp("judged"), "eval.json", content)
