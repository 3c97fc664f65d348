"""Gives a text a number, or several."""

from __future__ import annotations

import numpy as np

from tfedge.runtime.tasks import text_regression as board
from tfedge.tasks.numbers import Numbers


class TextRegression(Numbers, board.TextRegression):
    """See `Numbers`."""

    kind = "ForSequenceClassification"
    trains_on_labels = True

    def unit(self, aims: np.ndarray) -> tuple[float, float] | None:
        return float(aims.mean()), float(aims.std())


TASK = TextRegression()
