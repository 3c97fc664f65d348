"""Tells which labels an image has, any number of them."""

from __future__ import annotations

from tfedge.runtime.inputs import IMAGE
from tfedge.runtime.tasks.classification import MultiLabel


class ImageMultiLabel(MultiLabel):
    """See `MultiLabel`."""

    name = "image-multi-label"
    input = IMAGE


TASK = ImageMultiLabel()
