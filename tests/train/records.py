"""Reports of a training run, kept or used to kill it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


class Killed(Exception):
    """Stands for a kill of the process."""


class Record:
    """A report that keeps the figures and, if asked to, ends the run at a step."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.kill_at = kill_at
        self.losses: dict[int, float] = {}
        self.accuracies: dict[int, float] = {}
        self.cached: list[float] = []
        self.total = 0

    def __call__(self, step: int, steps: int, figures: dict[str, float]) -> None:
        self.total = steps
        if "eval_accuracy" in figures:
            self.accuracies[step] = figures["eval_accuracy"]
        elif "teacher_cached" in figures:
            self.cached.append(figures["teacher_cached"])
        else:
            self.losses[step] = figures["loss"]
        if step == self.kill_at:
            raise Killed


def weights(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint's folder."""
    tensors: dict[str, np.ndarray] = load_file(folder / "model.safetensors")
    return tensors


def same_weights(folder: Path, other: Path) -> bool:
    """Whether two folders hold the same tensors to the bit."""
    a, b = weights(folder), weights(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
