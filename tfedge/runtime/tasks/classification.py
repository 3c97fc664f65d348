"""What tasks share that choose one label for the whole input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tfedge.runtime.errors import one_line
from tfedge.runtime.tasks.base import Answer, Labels, Outputs, Task, softmax
from tfedge.runtime.wanted import WHOLE, Wanted


class Classification(Task):
    """ "logits" (1, labels) -> the likeliest label, and the `top_k` likeliest ones in order."""

    outputs: ClassVar = {"logits": (1, "labels")}
    options: ClassVar = {"top_k": 1}

    def answer(
        self, outputs: Outputs, encoded: Any, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """{"label", "score", "scores": {label: probability}}."""
        probabilities = softmax(outputs["logits"][0])
        order = (-probabilities).argsort(kind="stable")[: wanted.top_k]
        scores = {labels[index]: float(probabilities[index]) for index in order}
        return {
            "label": labels[order[0]],
            "score": float(probabilities[order[0]]),
            "scores": scores,
        }

    def line(self, answer: Mapping[str, Any]) -> str:
        """label TAB probability [TAB label TAB probability ...]"""
        return "\t".join(
            f"{one_line(name)}\t{score:.4f}" for name, score in answer["scores"].items()
        )
