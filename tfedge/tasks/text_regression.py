"""Gives a text a number, or several."""

from __future__ import annotations

from tfedge.runtime.tasks import text_regression as board
from tfedge.tasks.numbers import Numbers


class TextRegression(Numbers, board.TextRegression):
    """See `Numbers`."""

    kind = "ForSequenceClassification"


TASK = TextRegression()
