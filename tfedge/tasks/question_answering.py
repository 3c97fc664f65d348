"""Finds the part of a context that answers a question."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfedge.errors import InputError
from tfedge.runtime.tasks import question_answering as board
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks import columns, losses
from tfedge.tasks.base import Answers, Figures, Outputs, Rows, Task, Truth

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.architectures.base import EncoderConfig
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_ENDS = ("start_logits", "end_logits")
_ANSWERS = ("answers", "answer")
_NONE = [""]  # the right answers where there is none
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class QuestionAnswering(Task, board.QuestionAnswering):
    """`start_logits` and `end_logits`, (B, S) each."""

    kind = "ForQuestionAnswering"
    wanted = "the columns question, context and answers"
    score = "f1"
    example = '--context "Ada was born in London." "Where was Ada born?"'

    def modules(self, config: EncoderConfig) -> tuple[str, ...]:
        return ("qa_outputs",)

    def head(self, blocks: Blocks, hidden: Symbolic, inputs: Tensors, num_labels: int) -> Tensors:
        spans = blocks.per_token(blocks.dense("qa_outputs", 2, hidden))
        return {name: blocks.channel(name, index, spans) for index, name in enumerate(_ENDS)}

    def output_losses(
        self, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """Soft cross-entropy of the two ends (B, S) over the real tokens."""
        masked = losses.padding(mask)
        start, end = (
            losses.soft_cross_entropies(output[name] + masked, target[name] + masked, temperature)
            for name in _ENDS
        )
        return (start + end) / 2

    def differences(self, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        """Whether an end of the answer differs."""
        import tensorflow as tf

        masked = losses.padding(mask)
        found = (losses.others(output[name] + masked, target[name] + masked) for name in _ENDS)
        return tf.maximum(*found)

    def as_read(self, texts: Texts) -> Texts:
        """Each plain text as the context of the next one: these have no questions, but what a model
        answers to any pair can be compared."""
        texts = super().as_read(texts)
        if texts.are_pairs:
            return texts
        columns.tell(texts.source, "each text is read as the context of the next one", ())
        return texts.paired()

    def read(self, data: Data) -> Rows:
        """Pairs of question and context, and the right answers to each, as SQuAD has them.

        `answers` is a list of texts or an object with such a list as `text`; `answer` is one text. A
        question without an answer has an empty list; so has one whose answers have no word. Where
        there are such questions, an answer may be empty. Of plain texts see `as_read`.
        """
        rows, source = data.table, data.name
        given = data.columns
        names = (given.text_column or "question", given.pair_column or "context")
        missing = [name for name in names if name not in rows[0]]
        if len(missing) == 2 and given.text_column is None:
            return self.rows(data.texts())
        if missing:
            raise InputError(
                f"{self.name} needs a context with each question; {source} has no column "
                f"{' and no column '.join(missing)}: give {self.wanted}"
            )
        both = (columns.texts(rows, name, source) for name in names)
        answers = given.label(rows[0], _ANSWERS, source)
        truth = None if answers is None else [_texts(row.get(answers), source) for row in rows]
        may_be_none = truth is not None and _NONE in truth
        told = "some questions have no answer, so that answers may be empty" if may_be_none else ""
        columns.tell(source, told, [name for name in rows[0] if name not in (*names, answers)])
        asked = {"no_answer": True} if may_be_none else {}
        return Rows(list(zip(*both, strict=True)), truth, source, asked=asked)

    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """Exact match and F1 of words, each of the best of the right answers, the mean.

        As https://rajpurkar.github.io/SQuAD-explorer has them in version 2: lower case, without
        punctuation and articles; an empty answer is right where there is none. An error is wrong.
        """
        exact = f1 = 0.0
        for answer, right in zip(answers, truth, strict=True):
            if "error" in answer:
                continue
            found = _words(answer["answer"])
            exact += max(float(found == _words(text)) for text in right)
            f1 += max(_f1(found, _words(text)) for text in right)
        return {"exact_match": exact / len(truth), "f1": f1 / len(truth)}

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        return [
            f"exact match {100 * figures['exact_match']:.2f} %   F1 {100 * figures['f1']:.2f} %"
        ]

    def difference(self, answer: Answer, other: Answer) -> float:
        """1 where the spans differ."""
        return float(any(answer[end] != other[end] for end in ("start", "end")))


def _texts(value: Any, source: str) -> list[str]:
    found = value.get("text") if isinstance(value, Mapping) else value
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, (list, tuple)) or not all(isinstance(text, str) for text in found):
        raise InputError(f"{source} has the answers {value!r:.40}; give a text or a list of texts")
    return [text for text in found if _words(text)] or _NONE


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()


def _f1(found: list[str], right: list[str]) -> float:
    if not found or not right:
        return float(found == right)
    shared = sum((Counter(found) & Counter(right)).values())
    return 2 * shared / (len(found) + len(right))


TASK = QuestionAnswering()
