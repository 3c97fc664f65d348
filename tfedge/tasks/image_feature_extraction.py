"""Gives a vector for an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.runtime.tasks import image_feature_extraction as board
from tfedge.runtime.tasks.base import Labels
from tfedge.tasks import columns
from tfedge.tasks.base import Answers, Figures, Rows, Task, Truth
from tfedge.tasks.sentence_embedding import SentenceEmbedding, unit_vectors

if TYPE_CHECKING:
    from tfedge.architectures.base import EncoderConfig
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts
    from tfedge.models.blocks import Blocks, Symbolic, Tensors
    from tfedge.models.checkpoint import Checkpoint

_AT_ONCE = 1000  # images whose similarities to all others are in memory


class ImageFeatureExtraction(board.ImageFeatureExtraction, SentenceEmbedding):
    """`embedding` (B, C): what the architecture says that images are alike by, of length 1."""

    wanted = "a folder with one sub-folder per label, or the columns image and label"
    score = "same_label_first"
    example = "photo.jpg"
    calibrates_itself = False
    trains = False
    trains_on_labels = False
    shrinks = False
    in_mediapipe = False
    in_peers = False

    def check(self, config: EncoderConfig) -> None:
        """Whatever sentence-transformers would do with tokens."""
        Task.check(self, config)

    def fit(self, checkpoint: Checkpoint) -> int:
        """Of what has no classifier, whatever that is for."""
        heads = (f"{name}.weight" for name in checkpoint.config.classifiers)
        return 0 if any(head in checkpoint.names for head in heads) else super().fit(checkpoint)

    def reads_first_token_only(self, config: EncoderConfig) -> bool:
        return config.architecture.describes_first

    def head(self, blocks: Blocks, hidden: Symbolic, inputs: Tensors, num_labels: int) -> Tensors:
        features = blocks.per_text(blocks.config.architecture.features(blocks, hidden))
        return {"embedding": blocks.normalized(features) if blocks.options.normalize else features}

    def goal(self, rows: Rows) -> str:
        return self.score

    def rows(self, texts: Texts) -> Rows:
        texts = self.as_read(texts)
        return Rows(texts.texts, texts.labels, texts.source)

    def read(self, data: Data) -> Rows:
        """Images, and their labels where there are any."""
        return self.rows(self.texts(data))

    def truth(self, rows: Rows, labels: Labels) -> Truth | None:
        return None if rows.truth is None else [columns.key(label) for label in rows.truth]

    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """The share of images to which no image of another label is as near as one of their own.

        One without an answer is near none; one whose label has no other image is left out.
        """
        vectors, _ = unit_vectors([(answer, answer) for answer in answers])
        names = np.array(truth)
        found: list[bool] = []
        for start in range(0, len(names), _AT_ONCE):
            chosen = np.arange(start, min(start + _AT_ONCE, len(names)))
            similarities = vectors[chosen] @ vectors.T
            similarities[np.arange(len(chosen)), chosen] = -np.inf
            own = names[chosen][:, None] == names
            best = np.where(own, similarities, -np.inf).max(1)
            other = np.where(own, -np.inf, similarities).max(1)
            counts = own.sum(1) > 1
            answered = np.array(["error" not in answers[index] for index in chosen])
            found += ((best > other) & answered)[counts].tolist()
        return {"images": len(found), self.score: float(np.mean(found)) if found else 0.0}

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        return [
            f"the nearest other image has the same label {100 * figures[self.score]:.2f} % of "
            f"{figures['images']}"
        ]


TASK = ImageFeatureExtraction()
