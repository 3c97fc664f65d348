"""Gives a text a number, or several."""

from __future__ import annotations

from tfedge.runtime.inputs import TEXT_OR_PAIR
from tfedge.runtime.tasks.classification import Regression


class TextRegression(Regression):
    """See `Regression`."""

    name = "text-regression"
    input = TEXT_OR_PAIR


TASK = TextRegression()
