"""Tells which labels a text has, any number of them."""

from __future__ import annotations

from tfedge.runtime.inputs import TEXT_OR_PAIR
from tfedge.runtime.tasks.classification import MultiLabel


class TextMultiLabel(MultiLabel):
    """See `MultiLabel`."""

    name = "text-multi-label"
    input = TEXT_OR_PAIR


TASK = TextMultiLabel()
