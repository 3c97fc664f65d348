"""Chooses among labels that were made of words when the model was converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfedge.errors import InputError
from tfedge.runtime.tasks import zero_shot_image_classification as board
from tfedge.tasks.classification import Classification

if TYPE_CHECKING:
    from tfedge.architectures.base import EncoderConfig
    from tfedge.models.blocks import Blocks, Symbolic, Tensors
    from tfedge.models.checkpoint import Checkpoint

LABELS = "labels"  # the dense layer that the words have become


class ZeroShotImageClassification(board.ZeroShotImageClassification, Classification):
    """`logits` (B, L): the products of `embedding` (B, C) with what the text tower makes of labels."""

    kind = "Model"
    wanted = "a folder with one sub-folder per label, or the columns image and label"
    example = "photo.jpg"
    calibrates_itself = False
    labels_in_words = True
    trains = False
    trains_on_labels = False

    def check(self, config: EncoderConfig) -> None:
        if config.architecture.text_tower is None:
            raise InputError(
                f"a {config.model_type} has no tower of texts, which --labels need; take a clip or "
                "siglip"
            )

    def logits_modules(self, config: EncoderConfig) -> tuple[str, ...]:
        return (LABELS,)

    def modules(self, config: EncoderConfig) -> tuple[str, ...]:
        return (LABELS,)

    def labels(self, checkpoint: Checkpoint) -> list[str]:
        """None of its own: they are given in words, and those of config.json are nobody's."""
        return []

    def fit(self, checkpoint: Checkpoint) -> int:
        """Never guessed: it is --labels that ask for it."""
        return 0

    def reads_first_token_only(self, config: EncoderConfig) -> bool:
        return config.architecture.describes_first

    def head(self, blocks: Blocks, hidden: Symbolic, inputs: Tensors, num_labels: int) -> Tensors:
        features = blocks.config.architecture.features(blocks, hidden)
        logits = blocks.dense(LABELS, num_labels, features)
        embedding = blocks.per_text(features, "embedding")
        return {"logits": blocks.per_text(logits), "embedding": embedding}


TASK = ZeroShotImageClassification()
