"""What is trained of an encoder of images, and how its images are changed; needs no TensorFlow."""

from __future__ import annotations

import dataclasses

# Of what images may have in another way each time they are read, by what users call it.
CHANGES = ("flip", "zoom", "rotation", "colour")


@dataclasses.dataclass(frozen=True)
class ImageOptions:
    """Of `tfedge finetune` with a model of images."""

    # Whether all weights are trained; else only the head, on features that are computed once.
    trains_trunk: bool = False
    # How images are changed at random, of CHANGES, where the trunk is trained.
    augment: tuple[str, ...] = CHANGES
