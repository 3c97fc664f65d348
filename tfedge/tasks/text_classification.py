"""Chooses one label for a text."""

from __future__ import annotations

from tfedge.runtime.tasks import text_classification as board
from tfedge.tasks.classification import Classification


class TextClassification(Classification, board.TextClassification):
    """See `Classification`."""

    kind = "ForSequenceClassification"
    trains_on_labels = True
    shrinks = True
    in_mediapipe = True
    in_peers = True


TASK = TextClassification()
