"""Chooses a label for each token of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tfedge.runtime.errors import one_line
from tfedge.runtime.tasks.base import Answer, Labels, Outputs, Task, softmax
from tfedge.runtime.wanted import WHOLE, Wanted

if TYPE_CHECKING:
    from tfedge.runtime.tokenizer import Encoded


class TokenClassification(Task):
    """ "logits" (1, length, labels) -> the likeliest label of every word piece."""

    name = "token-classification"
    outputs: ClassVar = {"logits": (1, "length", "labels")}

    def answer(
        self, outputs: Outputs, encoded: Encoded, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """{"tokens": [{"token", "label", "score", "start", "end"}]}."""
        probabilities = softmax(outputs["logits"][0])
        tokens = []
        for position in encoded.positions(0):
            best = int(probabilities[position].argmax())
            start, end = encoded.offsets[position]
            tokens.append(
                {
                    "token": encoded.tokens[position],
                    "label": labels[best],
                    "score": float(probabilities[position, best]),
                    "start": start,
                    "end": end,
                }
            )
        return {"tokens": tokens}

    def line(self, answer: Mapping[str, Any]) -> str:
        """token/label token/label ..."""
        return " ".join(
            f"{one_line(item['token'])}/{one_line(item['label'])}" for item in answer["tokens"]
        )


TASK = TokenClassification()
