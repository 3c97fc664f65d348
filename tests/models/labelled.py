"""Toys whose labels are given in words, converted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import toy_images
from bars import Bars
from program import INSTALLED, infer

from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.records import as_json

TASK = "zero-shot-image-classification"


def converted_answer(source: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Converts a checkpoint with the labels of toy images, all in integers and near float in every
    runtime; gives an image and what is answered to it."""
    images = toy_images.write_images(folder / "images", 24)
    options = ConvertOptions(
        labels=toy_images.LABELS,
        template="a {}",
        calibration=str(images),
        output=folder / "out",
        max_drop=100.0,  # of random weights, which tell little apart
    )
    converted = convert(str(source), options, Bars())
    report = as_json(converted)
    assert (report["task"], report["quantization"]["float_operators"]) == (TASK, 0)
    assert 0 < report["float32_tflite_error"] < 1e-4
    figures = report["evaluation"]["runtimes"]
    assert tuple(figures) == INSTALLED
    for found in figures.values():
        assert found["disagreement"] < 0.35
    path = next(images.glob("blob/*.png"))
    (answer,) = infer("--model", converted.path, "--json", path).objects
    return path, answer
