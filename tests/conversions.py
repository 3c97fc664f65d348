"""Conversions of toys that several tests look at, each done once a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bars import Bars
from once import Once, digest

from tfedge.convert.convert import ConvertOptions, convert


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
