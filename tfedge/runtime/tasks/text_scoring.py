"""Gives a text a score, 0 to 1."""

from __future__ import annotations

from tfedge.runtime.inputs import TEXT_OR_PAIR
from tfedge.runtime.tasks.classification import Scoring


class TextScoring(Scoring):
    """See `Scoring`."""

    name = "text-scoring"
    input = TEXT_OR_PAIR


TASK = TextScoring()
