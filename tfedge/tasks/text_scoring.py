"""Gives a text a score, 0 to 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfedge.errors import InputError
from tfedge.runtime.tasks import text_scoring as board
from tfedge.runtime.tasks.base import Labels
from tfedge.tasks import problems
from tfedge.tasks.base import Outputs, Truth
from tfedge.tasks.numbers import Numbers

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.data.texts import Texts


class TextScoring(Numbers, board.TextScoring):
    """See `Numbers`."""

    kind = "ForSequenceClassification"
    trains_on_labels = True
    problem = problems.SCORE
    is_score = True
    example = '--pair "a text" "another text"'

    def aims(self, truth: Truth, labels: Labels) -> np.ndarray:
        """Raises InputError where a score is not within 0 and 1."""
        found = super().aims(truth, labels)
        if (outside := found[(found < 0) | (found > 1)]).size:
            raise InputError(
                f"a score is {outside[0]:g}; of {self.name} they are 0 to 1: divide them, or train "
                "--task text-regression, whose numbers are as they are"
            )
        return found

    def label_losses(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor:
        """Cross-entropy of the sigmoid, as sentence-transformers trains rerankers."""
        import tensorflow as tf

        logits = output["logits"][:, 0]
        return tf.nn.sigmoid_cross_entropy_with_logits(aims, logits)

    def usual(self, texts: Texts, labels: Labels) -> Texts:
        """Pairs, for most such models are rerankers."""
        return texts.paired()


TASK = TextScoring()
