"""Chooses one label for a text."""

from __future__ import annotations

from tfedge.runtime.tasks.classification import Classification


class TextClassification(Classification):
    """See `Classification`."""

    name = "text-classification"


TASK = TextClassification()
