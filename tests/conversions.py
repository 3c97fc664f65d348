"""Conversions of toys that several tests look at, each done once a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import toy_folders
from bars import Bars
from once import Once, digest
from program import INSTALLED, infer

from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.records import as_json
from tfedge.runtime.bundle import read_bundle


def converted(once: Once, source: Path, options: ConvertOptions) -> Path:
    """The folder with the .tflite and its report, both named after the checkpoint.

    Args:
        source: the checkpoint's folder.
        options: those without `output`. Two conversions are the same if the content of the checkpoint
            and of the data is, wherever they lie, and so are all options.
    """
    data = {
        name: digest(Path(path))
        for name in ("calibration", "evaluation")
        if (path := getattr(options, name)) is not None
    }
    plain = dataclasses.replace(options, **dict.fromkeys(data), output=Path())
    key = f"conversion {source.name} {digest(source)} {data} {plain}"

    def make(folder: Path) -> None:
        convert(str(source), dataclasses.replace(options, output=folder), Bars())

    return once.folder(key, make) / source.name


def assert_int8_agrees(source: Path, root: Path, buckets: tuple[int, ...] = ()) -> None:
    """int8 of a toy answers as float does, in every runtime.

    What no training has parted are near ties, so a classifier's labels say little: its probabilities
    are compared, of which some toys spread by 0.008 only.

    Args:
        root: a folder for what is written.
    """
    data = toy_folders.write_sentences(root / "toy.tsv", 24)
    options = ConvertOptions(
        quantization="int8",
        calibration=str(data),
        output=root / "out",
        max_drop=100.0,
        sequence_length=18,
        buckets=buckets,
        keep_reference=True,
    )
    report = as_json(convert(str(source), options, Bars()))
    assert report["float32_tflite_error"] < 1e-4
    figures = report["evaluation"]["runtimes"]
    assert tuple(figures) == INSTALLED
    (made,) = (root / "out").glob("*/*_int8.tflite")
    assert read_bundle(made).manifest.runtimes == INSTALLED
    reference = made.with_name(f"{made.stem}_reference.tflite")
    for runtime, found in figures.items():
        assert found["passed"], (runtime, found)
        if "accuracy" not in found:
            assert found["disagreement"] < 0.05, (runtime, found)
            continue
        int8, float32 = (_probabilities(file, runtime) for file in (made, reference))
        assert np.corrcoef(int8, float32)[0, 1] > 0.9, runtime
        assert np.abs(int8 - float32).max() < 0.02, runtime


def _probabilities(file: Path, runtime: str) -> np.ndarray:
    """[24]: of the first label, text by text."""
    texts = toy_folders.sentences(24).texts
    result = infer("--model", file, "--runtime", runtime, "--json", *texts)
    assert result.code == 0, result.errors
    return np.array([answer["scores"][toy_folders.LABELS[0]] for answer in result.objects])


def several_lengths(quantization: str, data: Path) -> ConvertOptions:
    """Graphs for 8, 12 and 16 tokens and, but of float32 itself, the float model beside them."""
    return ConvertOptions(
        quantization,
        16,
        (8, 12, 32),
        calibration=str(data),
        max_drop=100.0,
        keep_reference=quantization != "float32",
    )
