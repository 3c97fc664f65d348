"""Chooses one label for an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfedge.runtime.tasks import image_classification as board
from tfedge.tasks import columns
from tfedge.tasks.classification import Classification, Classifier

if TYPE_CHECKING:
    from tfedge.models.checkpoint import Checkpoint


class OfImages(Classifier):
    """What classifiers of images have in common."""

    kind = "ForImageClassification"
    wanted = "a folder with one sub-folder per label, or the columns image and label"
    example = "photo.jpg"
    calibrates_itself = False
    trains = False
    default_labels = 1000  # ImageNet's
    head_advice = (
        "with transformers, take a checkpoint that is fine-tuned, or convert it with --task "
        "image-feature-extraction"
    )

    def fit(self, checkpoint: Checkpoint) -> int:
        """Also of what is named so and lacks the weights, which is told."""
        is_image = checkpoint.config.architecture.reads == self.units
        named = is_image and self.is_named(checkpoint) and self._is_its_problem(checkpoint)
        return max(super().fit(checkpoint), int(named))

    def labels(self, checkpoint: Checkpoint) -> list[str]:
        """Those that others are equal to have their number behind them: ImageNet has two cranes."""
        return columns.told_apart(super().labels(checkpoint))


class ImageClassification(OfImages, Classification, board.ImageClassification):
    """See `Classification`."""

    trains_on_labels = True
    head_advice = "(tfedge finetune), or convert it with --task image-feature-extraction"


TASK = ImageClassification()
