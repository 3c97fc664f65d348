"""The result of tfedge.evaluate."""

from __future__ import annotations

from tfedge.api.shown import Shown
from tfedge.cli.summary import evaluation_summary
from tfedge.measure import evaluate


class Evaluation(Shown, evaluate.Evaluation):
    """How well a model answers."""

    def _summary(self) -> str:
        return evaluation_summary(self)
