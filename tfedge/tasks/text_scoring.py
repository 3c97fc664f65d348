"""Gives a text a score, 0 to 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfedge.runtime.tasks import text_scoring as board
from tfedge.runtime.tasks.base import Labels
from tfedge.tasks import problems
from tfedge.tasks.numbers import Numbers

if TYPE_CHECKING:
    from tfedge.data.texts import Texts


class TextScoring(Numbers, board.TextScoring):
    """See `Numbers`."""

    kind = "ForSequenceClassification"
    problem = problems.SCORE
    is_score = True
    example = '--pair "a text" "another text"'

    def usual(self, texts: Texts, labels: Labels) -> Texts:
        """Pairs, for most such models are rerankers."""
        return texts.paired()


TASK = TextScoring()
