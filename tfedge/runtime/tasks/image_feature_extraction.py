"""Gives a vector for an image."""

from __future__ import annotations

from tfedge.runtime.inputs import IMAGE
from tfedge.runtime.tasks.sentence_embedding import SentenceEmbedding


class ImageFeatureExtraction(SentenceEmbedding):
    """See `SentenceEmbedding`."""

    name = "image-feature-extraction"
    input = IMAGE


TASK = ImageFeatureExtraction()
