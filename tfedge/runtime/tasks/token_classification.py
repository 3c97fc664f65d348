"""Chooses a label for each token of a text, and puts entities together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tfedge.runtime import entities
from tfedge.runtime.errors import one_line
from tfedge.runtime.tasks.base import Answer, Labels, Outputs, Task, softmax
from tfedge.runtime.wanted import WHOLE, Wanted

if TYPE_CHECKING:
    from tfedge.runtime.tokenizer import Encoded


class TokenClassification(Task):
    """ "logits" (1, length, labels) -> the likeliest label of every word piece, and entities."""

    name = "token-classification"
    outputs: ClassVar = {"logits": (1, "length", "labels")}
    options: ClassVar = {"aggregation": entities.SIMPLE}

    def answer(
        self, outputs: Outputs, encoded: Encoded, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """{"tokens": [{"token", "label", "score", "start", "end"}], "entities": [...]}, of which the
        latter are those of `entities.find`; the strategy "none" leaves them out."""
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
        strategy = wanted.aggregation or entities.SIMPLE
        if strategy == entities.NONE:
            return {"tokens": tokens}
        found = entities.find(outputs["logits"][0], encoded, item, labels, strategy)
        return {"tokens": tokens, "entities": found}

    def line(self, answer: Mapping[str, Any]) -> str:
        """text/type TAB text/type ... of the entities, or "-"; without them token/label ..."""
        if "entities" not in answer:
            return " ".join(
                f"{one_line(item['token'])}/{one_line(item['label'])}" for item in answer["tokens"]
            )
        found = (
            f"{one_line(item['text'])}/{one_line(item['type'])}" for item in answer["entities"]
        )
        return "\t".join(found) or "-"


TASK = TokenClassification()
