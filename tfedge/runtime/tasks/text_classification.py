"""Chooses one label for a text."""

from __future__ import annotations

from typing import ClassVar

from tfedge.runtime.inputs import TEXT_OR_PAIR
from tfedge.runtime.tasks.classification import Classification


class TextClassification(Classification):
    """See `Classification`, and `tfedge.runtime.zero_shot` for `candidate_labels`."""

    name = "text-classification"
    input = TEXT_OR_PAIR
    options: ClassVar = {
        **Classification.options,
        "candidate_labels": None,
        "hypothesis_template": None,
        "multi_label": None,
    }


TASK = TextClassification()
