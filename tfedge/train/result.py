"""What a training reports of how good a model is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Self

from tfedge.tasks.base import Figures, Task


def numbers(figures: Figures | None) -> dict[str, float] | None:
    """What of the figures of `Task.metric` are numbers; None without any."""
    found = {name: one for name, one in (figures or {}).items() if isinstance(one, (int, float))}
    return found or None


@dataclasses.dataclass(frozen=True)
class Curve:
    """The figure that models are trained for by the number of texts, and with twice as many as all."""

    points: Mapping[int, float]
    doubled: float


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished run of `tfedge finetune` or `tfedge distil`."""

    output: str  # the folder
    accuracy: float | None  # of held-out texts, 0..1; None without any
    task: str
    goal: str  # the figure that it was trained for
    figures: Mapping[str, float] | None = None  # all that are told of held-out texts
    curve: Curve | None = None  # what less data gave, and more would

    @classmethod
    def measured(cls, output: str, task: Task, goal: str, figures: Figures | None) -> Self:
        """With what `Task.metric` has given, if it has."""
        accuracy = (figures or {}).get("accuracy")
        return cls(output, accuracy, task.name, goal, numbers(figures))
