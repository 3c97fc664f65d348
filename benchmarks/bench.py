"""Races converted models beside peers: who takes part, then the race."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from benchmarks.peer import PeerOptions, peers
from tfedge import tasks
from tfedge.data.texts import Texts
from tfedge.measure.race import BenchOptions, Race, entrants, race
from tfedge.progress import MakeBar


def bench(
    models: Sequence[str],
    texts: Texts,
    options: BenchOptions,
    asked: PeerOptions,
    make_bar: MakeBar,
) -> Race:
    """As `tfedge.measure.race.bench`, the peers after the models.

    Raises:
        InputError: a model, the labels or the checkpoint cannot be used.
        MissingPackageError: a runtime or the peers' environment is not installed.
        RejectedModelError: a model crashed in its runtime.
    """
    contestants, first = entrants(models, texts, options)
    with peers(asked, first, texts.texts, make_bar) as others:
        everybody = [*contestants, *others.contestants]
        labels, task = first.manifest.labels, tasks.find(first.manifest.task)
        result = race(everybody, texts, labels, options.rounds, make_bar, task)
    return dataclasses.replace(result, variants=others.variants, left_out=others.left_out)
