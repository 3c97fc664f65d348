"""Tells which labels an image has, any number of them."""

from __future__ import annotations

from tfedge.runtime.tasks import image_multi_label as board
from tfedge.tasks.image_classification import OfImages
from tfedge.tasks.multi_label import MultiLabel


class ImageMultiLabel(OfImages, MultiLabel, board.ImageMultiLabel):
    """See `OfImages`."""

    wanted = "a table with the columns image and labels (a list, or names with | between them)"


TASK = ImageMultiLabel()
