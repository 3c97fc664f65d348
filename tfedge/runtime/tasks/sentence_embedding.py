"""Gives a vector for a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tfedge.runtime.tasks.base import Answer, Labels, Task

if TYPE_CHECKING:
    import numpy as np


class SentenceEmbedding(Task):
    """ "embedding" (1, width) -> the vector."""

    name = "sentence-embedding"
    outputs: ClassVar = {"embedding": (1, None)}

    def answer(
        self,
        outputs: Mapping[str, np.ndarray],
        encoded: object,
        item: Any,
        labels: Labels,
        top_k: int | None = None,
    ) -> Answer:
        """{"embedding": [float, ...]}; see `Task`."""
        return {"embedding": outputs["embedding"][0].tolist()}

    def line(self, answer: Mapping[str, Any]) -> str:
        """The numbers, blanks between them."""
        return " ".join(f"{value:.6f}" for value in answer["embedding"])


TASK = SentenceEmbedding()
