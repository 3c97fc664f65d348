"""Compares converted models with each other: who takes part, then the race."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from tfedge import tasks
from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure.contestant import Contestant, converted
from tfedge.measure.race import Race, race
from tfedge.progress import MakeBar
from tfedge.runtime.bundle import Bundle


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """What `tfedge bench` is told besides models and texts.

    Attributes:
        runtimes: each model takes part once in each of these; none takes the first that each
            allows.
        threads: each contestant takes part once for each of these.
        rounds: how often each answers each text.
    """

    runtimes: tuple[str, ...]
    threads: tuple[int, ...]
    rounds: int


def bench(models: Sequence[str], texts: Texts, options: BenchOptions, make_bar: MakeBar) -> Race:
    """Races converted models; all are compared with the first.

    Args:
        models: as `tfedge.measure.contestant.converted` takes them.

    Raises:
        InputError: a model or the labels cannot be used.
        MissingPackageError: a runtime is not installed.
        RejectedModelError: a model crashed in its runtime.
    """
    contestants, first = entrants(models, texts, options)
    labels, task = first.manifest.labels, tasks.find(first.manifest.task)
    return race(contestants, texts, labels, options.rounds, make_bar, task)


def entrants(
    models: Sequence[str], texts: Texts, options: BenchOptions
) -> tuple[list[Contestant], Bundle]:
    """The converted models, once for each runtime and number of threads, and the first model.

    Raises:
        InputError: a model or the labels cannot be used.
    """
    asked = itertools.product(models, options.runtimes or (None,), options.threads)
    entries = list(itertools.starmap(converted, asked))
    first = entries[0][1]
    _check_same_task([bundle for _, bundle in entries])
    task = tasks.find(first.manifest.task)
    task.truth(task.rows(texts), first.manifest.labels or ())  # before anything slow
    return [contestant for contestant, _ in entries], first


def _check_same_task(bundles: Sequence[Bundle]) -> None:
    first = bundles[0]
    for bundle in bundles[1:]:
        for what in ("task", "labels"):
            one, other = (getattr(item.manifest, what) for item in (first, bundle))
            if one != other:
                raise InputError(
                    f"{first.path} has the {what} {one} and {bundle.path} {other}; give models of "
                    f"one {what}"
                )
