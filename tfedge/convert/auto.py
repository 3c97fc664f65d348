"""Chooses the precision of every operation: by the user's rules, or by search (`--quant auto`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfedge import tasks
from tfedge.convert.result import Group, SearchReport
from tfedge.progress import MakeBar
from tfedge.quantize.costs import Costs, units_of
from tfedge.quantize.mixed import Precision
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

# Multiply-accumulates of texts that measuring the harms of all groups may take: with many groups
# or a large model fewer texts are taken, never less than 16 nor more than 64.
_WORK = 2e12
_MOST_EVALUATED = 500


@dataclasses.dataclass(frozen=True)
class Texts:
    """What a search measures on: token ids, int32 (n,) each.

    Attributes:
        calibration: what the harm of each group is measured on.
        evaluation: what the loss of a whole assignment is measured on.
        truth: the right labels of `evaluation` as indices, or None to count other answers.
    """

    calibration: Sequence[np.ndarray]
    evaluation: Sequence[np.ndarray]
    truth: Sequence[int] | None


@dataclasses.dataclass(frozen=True)
class Choice:
    """An assignment of precisions, and why.

    Attributes:
        moves: all that could be taken out of the integers, in the order in which it pays.
        count: how many of them are.
        loss: simulated, in points.
    """

    moves: Sequence[Move]
    count: int
    loss: float

    @property
    def precisions(self) -> dict[str, Precision]:
        """What sites compute in; those not named in int8."""
        return precisions_after(self.moves[: self.count])

    def report(self, board: str) -> SearchReport:
        """Each group in the order of choice, its harm, cost and precision."""
        groups = [
            Group(
                move.group,
                _name(move) if index < self.count else "int8",
                move.harm,
                round(move.cost, 4),
            )
            for index, move in enumerate(self.moves)
        ]
        added = round(sum(move.cost for move in self.moves[: self.count]), 3)
        return SearchReport(board, self.loss, added, groups)


def _name(move: Move) -> str:
    return "+".join(sorted(set(move.precisions.values())))


class Search:
    """Looks for assignments of one prepared model.

    Args:
        cache: file that keeps what is measured of each group, `key` what that depends on.
    """

    def __init__(
        self,
        prepared: Prepared,
        texts: Texts,
        costs: Costs,
        cache: Path,
        key: Mapping[str, Any],
        make_bar: MakeBar,
    ) -> None:
        self._task = tasks.find(prepared.shape.task)
        self._texts = texts
        self._make_bar = make_bar
        encoder = prepared.encoder()
        units = units_of(encoder)
        self._simulation = Simulation(prepared)
        groups = groups_of(encoder.sites)
        macs = sum(units[site] for site, kind in encoder.sites.items() if kind == "dense")
        count = int(np.clip(_WORK / (macs * len(groups)), 16, 64))
        with make_bar("measuring what rounding harms", len(groups) + 1) as bar:
            harms = measure_harms(
                self._simulation,
                texts.calibration[:count],
                self._harm,
                cache,
                {**key, "texts": min(count, len(texts.calibration))},
                bar.advance,
            )
        self._moves = order_moves(encoder.sites, units, harms, costs)

    def choose(self, max_drop: float, after: Choice | None = None) -> Choice | None:
        """The fastest assignment whose simulated loss is at most `max_drop` points.

        Where none is that good, the most exact one.

        Args:
            after: what did not do in the runtime; the next one has less in integers. None is left
                where that had all moves.
        """
        free = sum(move.cost <= 0 for move in self._moves)
        least = free if after is None else after.count + 1
        if least > len(self._moves):
            return None
        with self._make_bar("looking for the fastest that keeps the accuracy", 1) as bar:
            count, loss = count_moves(self._moves, least, self._loss, max_drop)
            bar.advance()
        return Choice(self._moves, count, loss)

    def _harm(self, output: Any, target: Any, mask: Any) -> tf.Tensor:
        return tf.reduce_mean(self._task.output_losses(output, target, mask, temperature=1.0))

    def _loss(self, moves: Sequence[Move]) -> float:
        """What the model loses in points once `moves` are made, as `tfedge convert` counts it."""
        texts, truth = self._texts, self._texts.truth
        spared = precisions_after(moves)
        self._simulation.round_only(site for site in self._simulation.sites if site not in spared)
        sequences = texts.evaluation[:_MOST_EVALUATED]
        if truth is None:
            distances = self._simulation.distances(sequences, self._task.differences)
            return 100 * float(distances.mean())
        right = np.asarray(truth[: len(sequences)])
        accuracies = [
            np.mean(self._simulation.distances(sequences, labels_of) == right)
            for labels_of in (_float_labels, _labels)
        ]
        return 100 * float(accuracies[0] - accuracies[1])


def _labels(output: Any, target: Any, mask: Any) -> tf.Tensor:
    del target, mask
    return tf.argmax(output["logits"], -1)


def _float_labels(output: Any, target: Any, mask: Any) -> tf.Tensor:
    del output, mask
    return tf.argmax(target["logits"], -1)
