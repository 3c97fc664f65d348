"""Chooses among labels that were made of words when the model was converted."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tfedge.runtime.inputs import IMAGE
from tfedge.runtime.tasks.base import Answer, Labels, Outputs, sigmoid
from tfedge.runtime.tasks.classification import Classification, ranked
from tfedge.runtime.wanted import WHOLE, Wanted


class ZeroShotImageClassification(Classification):
    """ "logits" (1, labels), of the "embedding" (1, width), whose length they are divided by.

    With a "logit_bias" (1, 1) each score is a probability by itself, as those of a SigLIP are.
    """

    name = "zero-shot-image-classification"
    input = IMAGE
    outputs: ClassVar = {"logits": (1, "labels"), "embedding": (1, None)}

    def answer(
        self, outputs: Outputs, encoded: Any, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """As of any classifier."""
        length = max(float(np.linalg.norm(outputs["embedding"])), 1e-12)
        logits = outputs["logits"] / length
        if (bias := outputs.get("logit_bias")) is not None:
            return ranked(sigmoid(logits[0] + bias[0]), labels, wanted)
        return super().answer({"logits": logits}, encoded, item, labels, wanted)


TASK = ZeroShotImageClassification()
