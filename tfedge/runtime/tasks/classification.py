"""What tasks share that give the labels of the whole input numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tfedge.runtime.errors import one_line
from tfedge.runtime.tasks.base import Answer, Labels, Outputs, Task, sigmoid, softmax
from tfedge.runtime.wanted import WHOLE, Wanted

if TYPE_CHECKING:
    import numpy as np

LIKELY = 0.5  # of a label that may stand beside others, the least probability at which it is given


def ranked(numbers: np.ndarray, labels: Labels, wanted: Wanted) -> Answer:
    """The answer of a number (labels,) for each label."""
    order = (-numbers).argsort(kind="stable")[: wanted.top_k]
    scores = {labels[index]: float(numbers[index]) for index in order}
    return {"label": labels[order[0]], "score": float(numbers[order[0]]), "scores": scores}


class Classification(Task):
    """ "logits" (1, labels) -> the likeliest label, and the `top_k` likeliest ones in order."""

    outputs: ClassVar = {"logits": (1, "labels")}
    options: ClassVar = {"top_k": 1}

    def numbers(self, logits: np.ndarray) -> np.ndarray:
        """What logits (labels,) say of each label."""
        return softmax(logits)

    def answer(
        self, outputs: Outputs, encoded: Any, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """{"label", "score", "scores": {label: probability}}."""
        return ranked(self.numbers(outputs["logits"][0]), labels, wanted)

    def line(self, answer: Mapping[str, Any]) -> str:
        """label TAB probability [TAB label TAB probability ...]"""
        return "\t".join(
            f"{one_line(name)}\t{score:.4f}" for name, score in answer["scores"].items()
        )


class MultiLabel(Classification):
    """ "logits" (1, labels) -> a probability of each label by itself, and those that are likely.

    transformers' `problem_type` multi_label_classification.
    """

    options: ClassVar = {"top_k": None}
    least_labels = 1

    def numbers(self, logits: np.ndarray) -> np.ndarray:
        return sigmoid(logits)

    def answer(
        self, outputs: Outputs, encoded: Any, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """As of one label, and "labels": those of a probability of at least `LIKELY`."""
        answer = super().answer(outputs, encoded, item, labels, wanted)
        likely = [label for label, score in answer["scores"].items() if score >= LIKELY]
        return {**answer, "labels": likely}

    def line(self, answer: Mapping[str, Any]) -> str:
        """As of one label, of those that are likely; `-` where none is."""
        scores = answer["scores"]
        return super().line({"scores": {label: scores[label] for label in answer["labels"]}}) or "-"


class Regression(Classification):
    """ "logits" (1, labels) -> a number for each label, as it is.

    transformers' `problem_type` regression.
    """

    options: ClassVar = {}
    least_labels = 1

    def numbers(self, logits: np.ndarray) -> np.ndarray:
        return logits.astype("float64")

    def answer(
        self, outputs: Outputs, encoded: Any, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """{"label", "score", "scores": {label: number}}: the largest number's label, and all in their
        order."""
        answer = super().answer(outputs, encoded, item, labels)
        return {**answer, "scores": {label: answer["scores"][label] for label in labels}}

    def line(self, answer: Mapping[str, Any]) -> str:
        """The number; of several labels, each and its number, tabs between them."""
        if len(answer["scores"]) > 1:
            return super().line(answer)
        return f"{answer['score']:.4f}"


class Scoring(Regression):
    """ "logits" (1, 1) -> a score, 0 to 1, of the whole input.

    What transformers makes of a model with one label and no `problem_type`: rerankers, STS.
    """

    def numbers(self, logits: np.ndarray) -> np.ndarray:
        return sigmoid(logits)
