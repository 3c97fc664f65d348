"""Gives a text a score, 0 to 1."""

from __future__ import annotations

from tfedge.runtime.tasks import text_scoring as board
from tfedge.tasks import problems
from tfedge.tasks.numbers import Numbers


class TextScoring(Numbers, board.TextScoring):
    """See `Numbers`."""

    kind = "ForSequenceClassification"
    problem = problems.SCORE


TASK = TextScoring()
