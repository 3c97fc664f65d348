"""Tells which labels a text has, any number of them."""

from __future__ import annotations

from tfedge.runtime.tasks import text_multi_label as board
from tfedge.tasks.multi_label import MultiLabel


class TextMultiLabel(MultiLabel, board.TextMultiLabel):
    """See `MultiLabel`."""

    kind = "ForSequenceClassification"
    trains_on_labels = True


TASK = TextMultiLabel()
