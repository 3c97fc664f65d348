"""Writes a checkpoint with random weights."""

from __future__ import annotations

from pathlib import Path

import tf_keras as keras

from tfedge.errors import InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import save_checkpoint
from tfedge.models.config import parse_config
from tfedge.recipes import Recipe


def initialize(recipe: Recipe, folder: Path, tokenizer: Path, seed: int = 0) -> None:
    """Builds the architecture of `recipe` with fresh weights and saves it as an HF folder.

    Args:
        tokenizer: a folder whose tokeniser files are copied along.

    Raises:
        InputError: `folder` exists.
    """
    if folder.exists():
        raise InputError(f"{folder} exists; give the name of a new folder")
    keras.utils.set_random_seed(seed)
    config = parse_config(recipe.config)
    labels = list(recipe.labels) if recipe.labels else None
    model = build(config, recipe.task, len(labels or ())).model
    save_checkpoint(model, config, recipe.task, folder, labels, tokenizer)
