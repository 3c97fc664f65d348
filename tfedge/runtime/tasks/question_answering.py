"""Finds the part of a context that answers a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tfedge.runtime.errors import one_line
from tfedge.runtime.inputs import PAIR
from tfedge.runtime.tasks.base import Answer, Labels, Outputs, Task, softmax
from tfedge.runtime.wanted import WHOLE, Wanted

if TYPE_CHECKING:
    from tfedge.runtime.tokenizer import Encoded

MAX_ANSWER_TOKENS = 30  # as usual for SQuAD


class QuestionAnswering(Task):
    """ "start_logits", "end_logits" (1, length) -> the likeliest span of the context.

    The probability of a span is that of its start times that of its end, among the tokens of the
    context.
    """

    name = "question-answering"
    input = PAIR
    outputs: ClassVar = {"start_logits": (1, "length"), "end_logits": (1, "length")}

    def answer(
        self, outputs: Outputs, encoded: Encoded, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """{"answer", "score", "start", "end"}, the last two in characters of the context."""
        import numpy as np

        context = encoded.positions(1)
        starts = softmax(outputs["start_logits"][0, context])  # (C,)
        ends = softmax(outputs["end_logits"][0, context])  # (C,)
        joint = np.triu(starts[:, None] * ends[None, :])  # (C, C), no end before its start
        joint -= np.triu(joint, MAX_ANSWER_TOKENS)  # no span of more tokens
        first, last = np.unravel_index(joint.argmax(), joint.shape)
        start, end = encoded.offsets[context[first]][0], encoded.offsets[context[last]][1]
        return {
            "answer": item[1][start:end],
            "score": float(joint[first, last]),
            "start": start,
            "end": end,
        }

    def line(self, answer: Mapping[str, Any]) -> str:
        """answer TAB probability"""
        return f"{one_line(answer['answer'])}\t{answer['score']:.4f}"


TASK = QuestionAnswering()
