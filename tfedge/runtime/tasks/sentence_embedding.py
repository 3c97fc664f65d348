"""Gives a vector for a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tfedge.runtime.tasks.base import Answer, Labels, Outputs, Task
from tfedge.runtime.wanted import WHOLE, Wanted


class SentenceEmbedding(Task):
    """ "embedding" (1, width) -> the vector."""

    name = "sentence-embedding"
    outputs: ClassVar = {"embedding": (1, None)}

    def answer(
        self, outputs: Outputs, encoded: Any, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """{"embedding": [float, ...]}."""
        return {"embedding": outputs["embedding"][0].tolist()}

    def line(self, answer: Mapping[str, Any]) -> str:
        """The numbers, blanks between them."""
        return " ".join(f"{value:.6f}" for value in answer["embedding"])


TASK = SentenceEmbedding()
