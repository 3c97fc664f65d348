"""Writes what compression made of a checkpoint: whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.models.checkpoint import Checkpoint, save_checkpoint
from tfedge.models.folder import copy_rest

RESULT = "result"


def write_result(
    model: keras.Model,
    config: EncoderConfig,
    task: str,
    labels: list[str],
    source: Checkpoint,
    folder: Path,
) -> None:
    """Writes `model` to `RESULT` in a run's folder, with what of `source` is not in its weights."""
    result = folder / RESULT
    shutil.rmtree(result, ignore_errors=True)
    stored = source.config.source.get("dtype") or source.config.source.get("torch_dtype")
    dtype = "float16" if stored == "float16" else "float32"
    save_checkpoint(model, config, task, result, labels, dtype)
    copy_rest(source.folder, result)


def publish_result(folder: Path, output: Path) -> None:
    """Moves `RESULT` of a run's folder to its place in one step and removes the folder."""
    if output.exists():
        shutil.rmtree(output)
    os.replace(folder / RESULT, output)
    shutil.rmtree(folder)
