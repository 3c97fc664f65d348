"""Chooses the precision of every operation: by the user's rules, or by search (`--quant auto`)."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfedge import __version__
from tfedge.conversion.job import Job
from tfedge.conversion.pricing import priced
from tfedge.conversion.result import Group, SearchReport
from tfedge.quantize.costs import Costs, units_of
from tfedge.quantize.mixed import Precision, match_sites
from tfedge.quantize.modes import INTEGER_QUANTIZATIONS
from tfedge.quantize.prepare import Prepared
from tfedge.quantize.search import (
    Move,
    Simulation,
    count_moves,
    groups_of,
    measure_harms,
    order_moves,
    precisions_after,
)
from tfedge.tasks.classification import Classification

# Multiply-accumulates of texts that measuring the harms of all groups may take: with many groups
# or a large model fewer texts are taken, never less than 16 nor more than 64.
_WORK = 2e12
_MOST_EVALUATED = 500


def assignments(
    job: Job, prepared: Prepared, samples: Sequence[np.ndarray]
) -> Generator[tuple[dict[str, Precision], SearchReport | None], None, None]:
    """The precisions to try, fastest first, and what is to be said of how they were found; the harm
    of each group is measured on `samples`, which calibrate."""
    if job.quantization in INTEGER_QUANTIZATIONS:
        yield {}, None
    elif job.costs is None:
        yield match_sites(job.rules, prepared.encoder().sites), None
    else:
        yield from _Search(job, prepared).choices(priced(job, prepared, job.costs), samples)


class _Search:
    """Looks for assignments of one prepared model."""

    def __init__(self, job: Job, prepared: Prepared) -> None:
        self._job = job
        self._task = job.task
        self._encoder = prepared.encoder()
        self._simulation = Simulation(prepared)
        items = job.rows.items[:_MOST_EVALUATED]
        self._evaluated = job.reader.samples(items, job.shape.sequence_length)

    def choices(
        self, costs: Costs, samples: Sequence[np.ndarray]
    ) -> Iterator[tuple[dict[str, Precision], SearchReport]]:
        """The fastest assignment by `costs` whose simulated loss is allowed, then stricter ones.

        Where none is that good, the most exact one; it is the last.
        """
        moves = self._moves(costs, samples)
        least, allowed = sum(move.cost <= 0 for move in moves), self._job.max_drop
        while least <= len(moves):
            with self._job.make_bar("looking for the fastest that keeps the accuracy", 1) as bar:
                count, loss = count_moves(moves, least, self._loss, allowed)
                bar.advance()
            yield precisions_after(moves[:count]), _report(moves, count, loss, costs)
            # The runtime found it worse than the simulation did: a stricter one, then.
            least, allowed = count + 1, min(loss, self._job.max_drop) / 2

    def _moves(self, costs: Costs, samples: Sequence[np.ndarray]) -> list[Move]:
        """All that can be taken out of the integers, in the order in which it pays."""
        job, sites = self._job, self._encoder.sites
        units, groups = units_of(self._encoder), groups_of(sites)
        macs = sum(units[site] for site, kind in sites.items() if kind == "dense")
        count = int(np.clip(_WORK / (macs * len(groups)), 16, 64))
        key = {
            "tfedge": __version__,
            "weights_sha256": job.checkpoint.sha256,
            "task": job.shape.task,
            "sequence_length": job.shape.sequence_length,
            "calibration_sha256": hashlib.sha256(b"".join(map(bytes, samples))).hexdigest(),
            "texts": min(count, len(samples)),
        }
        cache = job.folder / f"{job.source.name}_auto_measured.json"
        with job.make_bar("measuring what rounding harms", len(groups) + 1) as bar:
            harms = measure_harms(
                self._simulation, samples[:count], self._harm, cache, key, bar.advance
            )
        return order_moves(sites, units, harms, costs)

    def _harm(self, output: Any, target: Any, mask: Any) -> tf.Tensor:
        return tf.reduce_mean(self._task.output_losses(output, target, mask, temperature=1.0))

    def _loss(self, moves: Sequence[Move]) -> float:
        """What the model loses in points once `moves` are made, as `tfedge convert` counts it."""
        spared = precisions_after(moves)
        self._simulation.round_only(site for site in self._simulation.sites if site not in spared)
        if self._job.truth is None or not isinstance(self._task, Classification):
            distances = self._simulation.distances(self._evaluated, self._task.differences)
            return 100 * float(distances.mean())
        right = np.asarray(self._job.truth[: len(self._evaluated)])
        before, after = (
            np.mean(self._simulation.distances(self._evaluated, labels_of) == right)
            for labels_of in (_float_labels, _labels)
        )
        return 100 * float(before - after)


def _report(moves: Sequence[Move], count: int, loss: float, costs: Costs) -> SearchReport:
    """Each group in the order of choice, its harm, cost and precision."""
    names = ["+".join(sorted(set(move.precisions.values()))) for move in moves[:count]]
    names += ["int8"] * (len(moves) - count)
    groups = [
        Group(move.group, name, move.harm, round(move.cost, 4))
        for move, name in zip(moves, names, strict=True)
    ]
    added = round(sum(move.cost for move in moves[:count]), 3)
    return SearchReport(costs.board, loss, costs.unit, added, groups)


def _labels(output: Any, target: Any, mask: Any) -> tf.Tensor:
    return tf.argmax(output["logits"], -1)


def _float_labels(output: Any, target: Any, mask: Any) -> tf.Tensor:
    return tf.argmax(target["logits"], -1)
