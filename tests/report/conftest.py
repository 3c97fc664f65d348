"""Results as the commands print them, of toys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bars
import pytest

from tfedge.data.texts import Texts
from tfedge.inspect.report import InspectOptions, inspect
from tfedge.measure.bench import BenchOptions, bench

TEXTS = Texts(["a good film", "awful", "dull", "fine"], ["1", "0", "0", "1"], "toy.tsv")


def result(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def race(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three toys raced in LiteRT."""
    names = ["int8.tflite", "classifier.tflite", "buckets.tflite@16"]
    options = BenchOptions((), None, "python", "litert", 1, 2)
    found = bench([str(toys / name) for name in names], TEXTS, options, bars.Bars())
    return result(tmp_path_factory.mktemp("race"), "bench.json", found)


@pytest.fixture(scope="session")
def inspected(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy with its error and its times."""
    options = InspectOptions(against=toys / "classifier.tflite", rows=2, time_rounds=2)
    found = inspect(toys / "int8_output.tflite", options, bars.Bars())
    return result(tmp_path_factory.mktemp("model"), "inspect.json", found)
