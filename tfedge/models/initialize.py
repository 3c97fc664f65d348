"""Writes a checkpoint with random weights."""

from __future__ import annotations

from pathlib import Path

import tf_keras as keras

from tfedge import files, tasks
from tfedge.errors import InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import save_checkpoint
from tfedge.models.config import parse_config
from tfedge.models.folder import PREPROCESSOR, copy_inputs
from tfedge.presets import Preset


def initialize(preset: Preset, folder: Path, tokenizer: Path | None, seed: int = 0) -> None:
    """Builds the architecture of `preset` with fresh weights and saves it as an HF folder.

    Args:
        tokenizer: a folder whose tokeniser files are copied along; a model of images has none, and
            gets the preset's `preprocessor_config.json`.

    Raises:
        InputError: `folder` exists, or a tokeniser is missing or of no use.
    """
    if folder.exists():
        raise InputError(f"{folder} exists; give the name of a new folder")
    config = parse_config(preset.config)
    task = tasks.find(preset.task)
    if task.input.has_tokenizer != (tokenizer is not None):
        what = "give" if task.input.has_tokenizer else "leave out"
        raise InputError(f"{preset.name} reads {task.units}; {what} --tokenizer")
    keras.utils.set_random_seed(seed)
    labels = [f"LABEL_{index}" for index in range(task.default_labels)]
    labels = list(preset.labels or labels)
    model = build(config, preset.task, len(labels)).model
    save_checkpoint(model, config, preset.task, folder, labels)
    if tokenizer is not None:
        copy_inputs(tokenizer, folder)
    if preset.preprocessor is not None:
        files.write_json(folder / PREPROCESSOR, preset.preprocessor)
