"""Chooses one label for a text."""

from __future__ import annotations

from tfedge.runtime.inputs import TEXT_OR_PAIR
from tfedge.runtime.tasks.classification import Classification


class TextClassification(Classification):
    """See `Classification`."""

    name = "text-classification"
    input = TEXT_OR_PAIR


TASK = TextClassification()
