"""Finds the part of a context that answers a question."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tfedge.runtime.errors import one_line
from tfedge.runtime.inputs import PAIR
from tfedge.runtime.tasks.base import Answer, Labels, Outputs, Task, softmax
from tfedge.runtime.wanted import WHOLE, Wanted

if TYPE_CHECKING:
    import numpy as np

    from tfedge.runtime.tokenizer import Encoded

# As transformers has them, see `QuestionAnswering`.
MAX_ANSWER_TOKENS = 15
SPANS = 12  # the likeliest ones of a window that are looked at
_ENDS = ("start_logits", "end_logits")


class QuestionAnswering(Task):
    """ "start_logits", "end_logits" (1, length) -> the likeliest span of the context.

    As `QuestionAnsweringPipeline` of transformers 4.57 finds it (src/transformers/pipelines/
    question_answering.py, `postprocess`): the probability of a span is that of its start times that
    of its end, among the tokens of the context in a window and [CLS], which means that there is no
    answer. Spans become whole words, and the score of these words is the sum over all spans that
    give them, in all windows.
    """

    name = "question-answering"
    input = PAIR
    outputs: ClassVar = dict.fromkeys(_ENDS, (1, "length"))
    options: ClassVar = {"no_answer": None}

    def answer(
        self,
        outputs: Outputs,
        encoded: Encoded,
        item: Any,
        labels: Labels,
        wanted: Wanted = WHOLE,
    ) -> Answer:
        """{"answer", "score", "start", "end"}, the last two in characters of the context.

        Where `wanted.no_answer`, the answer is empty if that is likelier in each of the windows.
        """
        found: dict[str, Answer] = {}  # by the words, in small letters
        nothing = math.inf
        for row, window in enumerate(encoded.windows):
            starts, ends = (_probabilities(outputs[name][row], window) for name in _ENDS)
            nothing = min(nothing, float(starts[0] * ends[0]))
            spans = [window.words[position] for position in window.positions(1)]
            for first, last, score in _likeliest(starts[1:], ends[1:]):
                start, end = spans[first][0], spans[last][1]
                words = item[1][start:end]
                answer = {"answer": words, "score": 0.0, "start": start, "end": end}
                found.setdefault(words.lower(), answer)["score"] += score
        best = max(found.values(), key=lambda answer: answer["score"])
        if wanted.no_answer and nothing > best["score"]:
            return {"answer": "", "score": nothing, "start": 0, "end": 0}
        return best

    def line(self, answer: Mapping[str, Any]) -> str:
        """answer TAB score"""
        return f"{one_line(answer['answer'])}\t{answer['score']:.4f}"


def _probabilities(logits: np.ndarray, window: Encoded) -> np.ndarray:
    """Of [CLS], which is 0 where a tokeniser has none, and the C tokens of the context (1 + C,)."""
    import numpy as np

    kept = logits[[0, *window.positions(1)]]
    if window.sequence[0] is not None:
        kept[0] = -np.inf
    return softmax(kept)


def _likeliest(starts: np.ndarray, ends: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """First and last token of the likeliest spans, best first, of probabilities (C,) of both ends."""
    import numpy as np

    firsts = np.arange(len(starts))[:, None]
    lasts = firsts + np.arange(min(MAX_ANSWER_TOKENS, len(ends)))  # (C, tokens)
    beyond = lasts >= len(ends)
    scores = np.where(beyond, 0, starts[:, None] * ends[np.where(beyond, 0, lasts)])
    for index in np.argsort(-scores, axis=None, kind="stable")[:SPANS]:
        first, more = divmod(int(index), scores.shape[1])
        if not beyond[first, more]:
            yield first, first + more, float(scores[first, more])


TASK = QuestionAnswering()
