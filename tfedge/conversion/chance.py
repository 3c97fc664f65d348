"""How sure a loss is that was measured on some texts, and whether chance could make as much."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from tfedge.conversion.result import Figures as Measured
from tfedge.tasks.base import Answers, Figures, Task, differences
from tfedge.tasks.paired import newcombe

_LEVEL = 0.05
_RESAMPLES = 400


@dataclasses.dataclass(frozen=True)
class Sides:
    """The answers of a model in float and of the one made of it, and the truth if it is known.

    Attributes:
        goal: the figure of the task's `metric` that counts.
        lists: of each item what those have alike that are figured together, where `goal` is a mean
            over these.
    """

    expected: Answers
    answers: Answers
    truth: Sequence[Any] | None
    labels: Sequence[str]
    goal: str
    lists: Sequence[Hashable] | None = None


def certainty(
    task: Task, sides: Sides, comparison: Figures, max_drop: float, drop: float
) -> tuple[tuple[float, float] | None, bool]:
    """The 95 % interval of a loss of `drop` points, and whether that is beyond chance.

    Of labels that is Newcombe's interval, and McNemar's exact test (p < 0.05) of whether anything is
    lost. Of other figures with a known truth it is the interval of a paired bootstrap, and whether it
    is above 0; that takes seconds, so that nothing is computed, and None given, where `drop` is not
    above `max_drop`. Where the truth is not known and answers are the same or not, it is Clopper's and
    Pearson's interval of the share that differs, and whether it is above `max_drop`. What is left, as
    distances of embeddings, is told apart from chance by no test: None, and True.
    """
    if sides.truth is not None:
        if comparison.get("compared") == len(sides.truth) and "p_value" in comparison:
            return newcombe(comparison), comparison["p_value"] < _LEVEL
        if drop <= max_drop:
            return None, False
        resample = _bootstrap if sides.lists is None else _bootstrap_of_lists
        low, high = resample(task, sides)
        return (low, high), low > 0
    found = differences(task, sides.answers, sides.expected)
    if not set(found) <= {0.0, 1.0}:
        return None, True
    share = binomtest(int(sum(found)), len(found)).proportion_ci(1 - _LEVEL)
    return (100 * share.low, 100 * share.high), 100 * share.low > max_drop


def _bootstrap(task: Task, sides: Sides) -> tuple[float, float]:
    """The 95 % interval of the points lost, over items drawn again with their truth (Efron 1979)."""
    assert sides.truth is not None
    count = len(sides.truth)
    each = len(sides.answers) // count
    generator = np.random.default_rng(0)
    drops = []
    for _ in range(_RESAMPLES):
        rows = generator.integers(count, size=count)
        items = (rows[:, None] * each + np.arange(each)).ravel()
        truth = [sides.truth[row] for row in rows]
        before, after = (
            task.metric([side[item] for item in items], truth, sides.labels)[sides.goal]
            for side in (sides.expected, sides.answers)
        )
        drops.append(100 * (before - after))
    return _middle(np.array(drops))


def _bootstrap_of_lists(task: Task, sides: Sides) -> tuple[float, float]:
    """As `_bootstrap`, over whole lists, whose items are no more independent than their order."""
    assert sides.truth is not None and sides.lists is not None
    places: dict[Hashable, list[int]] = {}
    for item, key in enumerate(sides.lists):
        places.setdefault(key, []).append(item)
    drops = []
    for items in places.values():
        truth = [sides.truth[item] for item in items]
        before, after = (
            task.metric([side[item] for item in items], truth, sides.labels)
            for side in (sides.expected, sides.answers)
        )
        if sides.goal in before:  # a list of one has no order
            drops.append(100 * (before[sides.goal] - after[sides.goal]))
    rows = np.random.default_rng(0).integers(len(drops), size=(_RESAMPLES, len(drops)))
    return _middle(np.array(drops)[rows].mean(1))


def _middle(drops: np.ndarray) -> tuple[float, float]:
    """What 95 % of the drops lie between."""
    low, high = np.percentile(drops, [100 * _LEVEL / 2, 100 - 100 * _LEVEL / 2])
    return float(low), float(high)


def loss(figures: Measured, task: Task) -> str:
    """What is lost or won against float, in words: of how many texts where each answer is right or
    wrong."""
    sign, how = (-1, "won") if figures.drop < 0 else (1, "lost")
    drop = sign * figures.drop
    lost = drop * figures.texts / 100
    points = f"{drop:.2f} points {how}"
    if figures.interval is None:
        return points
    if figures.goal in ("accuracy", None) and abs(lost - round(lost)) < 1e-6:
        how = how if figures.scores else "differ"
        points = f"{round(lost)} of {figures.texts:,} {task.units} {how}, {drop:.2f} points"
    ends = sorted(sign * end for end in figures.interval)
    return points + " (95 % interval {:.2f} to {:.2f})".format(*ends)
