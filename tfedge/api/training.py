"""The results of what trains. Their parts import TensorFlow."""

from __future__ import annotations

from tfedge.api.shown import Folder
from tfedge.cli.summary import (
    pruning_summary,
    qad_summary,
    shrink_summary,
    static_summary,
    training_summary,
)
from tfedge.train import prune, qad, result, shrink, static


class Trained(Folder, result.Trained):
    """A checkpoint that was fine-tuned or distilled."""

    def _summary(self) -> str:
        return training_summary(self)


class Static(Folder, static.Static):
    """Static embeddings that were made of an encoder."""

    def _summary(self) -> str:
        return static_summary(self)


class Pruning(Folder, prune.Pruning):
    """A checkpoint many of whose weights are zero."""

    def _summary(self) -> str:
        return pruning_summary(self)


class Shrinking(Folder, shrink.Shrinking):
    """A checkpoint with fewer or smaller layers."""

    def _summary(self) -> str:
        return shrink_summary(self)


class TrainedForInt8(Folder, qad.Training):
    """A checkpoint and its ranges, which convert takes in place of calibrating."""

    def _summary(self) -> str:
        return qad_summary(self)
