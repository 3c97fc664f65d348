"""Converts encoders of images whose operators are counted: `python tests/arm/image_encoders.py FOLDER`.

Each has one layer, random weights and a preset's sizes, or others: what an operator costs hangs on its
shape alone. The files are in FOLDER/out, for `tests/arm/tabulate.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfedge.models.checkpoint import initialize
from tfedge.presets import load_preset

TASK = "image-feature-extraction"
MODES = ("float32", "int8")  # of other modes no operator is of another kind
_BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
# The preset, and what differs from it.
ENCODERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "tiny-112": ("deit-tiny", {"image_size": 112}),
    "tiny-224": ("deit-tiny", {}),
    "small-160": ("vit-small", {"image_size": 160}),
    "base-96": ("vit-small", {**_BASE, "image_size": 96}),
    "base-224": ("vit-small", _BASE),
    "dinov2-small": ("dinov2-small", {}),
    "dinov3-small": ("dinov3-vits16", {}),
    "clip-base": ("clip-vit-base-patch32", {}),
    "siglip-base": ("siglip-base-patch16-224", {}),
    "beit-base": ("beit-base-patch16-224", {}),
}
_IMAGES, _SIDE = 4, 224


def _checkpoint(name: str, folder: Path) -> Path:
    """Writes one unless it is there."""
    preset_name, changes = ENCODERS[name]
    preset = load_preset(preset_name)
    config, preprocessor = dict(preset.config), dict(preset.preprocessor or {})
    encoder = dict(config.get("vision_config", config)) | changes | {"num_hidden_layers": 1}
    config = {**config, "vision_config": encoder} if "vision_config" in config else encoder
    if side := changes.get("image_size"):
        preprocessor |= {"size": {"height": side, "width": side}, "do_center_crop": False}
    changed = dataclasses.replace(preset, task=TASK, config=config, preprocessor=preprocessor)
    if not (folder / name).exists():
        initialize(changed, folder / name, None)
    return folder / name


def _images(folder: Path) -> Path:
    """Draws coloured noise to calibrate by."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(_IMAGES):
        pixels = random.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    images = _images(folder / "images")
    for name in ENCODERS:
        checkpoint = _checkpoint(name, folder)
        for mode in MODES:
            command = [sys.executable, "-m", "tfedge.cli", "convert", checkpoint, "--quant", mode]
            command += ["--runtime", "litert", "--calibration", images, "--eval", images]
            command += ["--max-drop", 100, "--output", folder / "out"]
            subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
