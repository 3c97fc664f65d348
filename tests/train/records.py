"""Reports of a training run, kept or used to kill it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tfedge.data.texts import Texts
from tfedge.progress import ProgressBar
from tfedge.train.run import Request
from tfedge.train.training import TrainingOptions


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
        held_out = [value for name, value in figures.items() if name.startswith("eval_")]
        if held_out:
            (self.accuracies[step],) = held_out
        elif "teacher_cached" in figures:
            self.cached.append(figures["teacher_cached"])
        else:
            self.losses[step] = figures["loss"]
        if step == self.kill_at:
            raise Killed


class Unseen:
    """A progress bar that nobody sees."""

    def advance(self, count: int = 1) -> None: ...

    def update(self, done: int, note: str | None = None) -> None: ...

    def say(self, line: str) -> None: ...


def unseen(description: str, total: int) -> AbstractContextManager[ProgressBar]:
    """Makes such bars."""
    return nullcontext(Unseen())


def request(
    source: Path,
    texts: Texts,
    output: Path,
    options: TrainingOptions,
    record: Callable[[int, int, dict[str, float]], None],
    **others: Any,
) -> Request:
    """What a command is to do, its progress told to `record` alone."""
    make_bar = others.pop("make_bar", unseen)
    return Request(source, texts, output, options, make_bar, lambda bar: record, **others)


def weights(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint's folder."""
    tensors: dict[str, np.ndarray] = load_file(folder / "model.safetensors")
    return tensors


def same_weights(folder: Path, other: Path) -> bool:
    """Whether two folders hold the same tensors to the bit."""
    a, b = weights(folder), weights(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
