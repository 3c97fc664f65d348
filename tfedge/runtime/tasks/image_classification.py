"""Chooses one label for an image."""

from __future__ import annotations

from tfedge.runtime.inputs import IMAGE
from tfedge.runtime.tasks.classification import Classification


class ImageClassification(Classification):
    """See `Classification`."""

    name = "image-classification"
    input = IMAGE


TASK = ImageClassification()
