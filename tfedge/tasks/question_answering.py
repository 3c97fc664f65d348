"""Finds the part of a context that answers a question."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.errors import InputError
from tfedge.runtime.errors import TextError
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
    from tfedge.models.checkpoint import Checkpoint
    from tfedge.runtime.tokenizer import Encoded, TextEncoder

_CLASSIFIER = "classifier"
_ENDS = ("start_logits", "end_logits")
_NONE = [""]  # the right answers where there is none
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class QuestionAnswering(Task, board.QuestionAnswering):
    """`start_logits` and `end_logits`, (B, S) each."""

    kind = "ForQuestionAnswering"
    wanted = "the columns question, context and answers, or a .json file as SQuAD's"
    score = "f1"
    trains_on_labels = True
    example = '--context "Ada was born in London." "Where was Ada born?"'

    def check(self, config: EncoderConfig) -> None:
        """Refuses what could not be saved for transformers, too."""
        super().check(config)
        if config.architecture.lacks_spans:
            raise InputError(
                f"a {config.model_type} cannot be used for {self.name}: transformers has no class "
                "with its head; take an encoder of another family"
            )

    def modules(self, config: EncoderConfig) -> tuple[str, ...]:
        architecture = config.architecture
        return (*architecture.token_summary_modules, architecture.span_module)

    def fit(self, checkpoint: Checkpoint) -> int:
        """Where its weights are called as a classifier's, only the name of the class tells them."""
        told = self.is_named(checkpoint) or self.modules(checkpoint.config)[-1] != _CLASSIFIER
        return super().fit(checkpoint) if told else 0

    def head(self, blocks: Blocks, hidden: Symbolic, inputs: Tensors, num_labels: int) -> Tensors:
        architecture = blocks.config.architecture
        states = architecture.token_summary(blocks, hidden)
        spans = blocks.per_token(blocks.dense(architecture.span_module, 2, states))
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

    def new_labels(self, rows: Rows) -> list[str]:
        """None: an answer is a place."""
        self.with_truth(rows)
        return []

    def lessons(
        self, rows: Rows, encoder: TextEncoder, labels: Labels
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """The first and the last token of the first of the right answers, int32 (n, 2), of each window
        of a context; [CLS] where it is not in the window or there is none (Devlin et al. 2019, section
        4.3)."""
        sequences, aims = [], []
        truth = self.with_truth(rows).truth or ()
        places = rows.places or [None] * len(truth)
        for number, (item, right, place) in enumerate(
            zip(rows.items, truth, places, strict=True), 1
        ):
            where = f"{rows.source}, row {number}"
            span = _span(item[1], right[0], place, where)
            try:
                encoded = encoder.encode(*item)
            except TextError as error:
                raise InputError(f"{where}: {error}") from error
            for window in encoded.windows:
                sequences.append(np.array([window.ids, window.type_ids], np.int32).T)
                aims.append(_tokens(window, span))
        return sequences, np.array(aims, np.int32)

    def alike(self, aims: np.ndarray, labels: Labels) -> str:
        return "" if aims.any() else "no answer that fits into --max-length"

    def label_losses(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor:
        """Cross-entropy of both ends, their mean."""
        import tensorflow as tf

        start, end = (
            tf.nn.sparse_softmax_cross_entropy_with_logits(aims[:, index], output[name])
            for index, name in enumerate(_ENDS)
        )
        return (start + end) / 2

    def rights(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor | None:
        import tensorflow as tf

        start, end = (
            tf.cast(tf.argmax(output[name], -1, aims.dtype) == aims[:, index], tf.float32)
            for index, name in enumerate(_ENDS)
        )
        return start * end

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
        answers = given.label(rows[0], columns.ANSWERS, source)
        truth = None if answers is None else [_texts(row.get(answers), source) for row in rows]
        places = [_place(row[answers]) if answers in row else None for row in rows]
        may_be_none = truth is not None and _NONE in truth
        told = "some questions have no answer, so that answers may be empty" if may_be_none else ""
        columns.tell(source, told, [name for name in rows[0] if name not in (*names, answers)])
        asked = {"no_answer": True} if may_be_none else {}
        told_places = places if any(place is not None for place in places) else None
        return Rows(list(zip(*both, strict=True)), truth, source, asked=asked, places=told_places)

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


def _place(value: Any) -> int | None:
    """Where the first of the right answers begins, if that is told."""
    starts = value.get("answer_start") if isinstance(value, Mapping) else None
    first = starts[0] if isinstance(starts, list) and starts else starts
    return first if type(first) is int else None


def _span(context: str, answer: str, place: int | None, where: str) -> tuple[int, int] | None:
    """Where an answer stands in its context, in characters; at its first occurrence where no place is
    told. None where there is no answer; raises InputError where it is not there."""
    if not answer:
        return None
    start = context.find(answer) if place is None else place
    if start < 0 or context[start : start + len(answer)] != answer:
        raise InputError(
            f"{where}: the answer {answer!r:.40} does not stand in the context"
            f"{'' if place is None else f' at character {place}'}; models for question-answering find "
            "a part of the context: leave the row out, or give the words that are there"
        )
    return start, start + len(answer)


def _tokens(window: Encoded, span: tuple[int, int] | None) -> tuple[int, int]:
    """The first and the last token of a part of the context; [CLS] where some of it is not there."""
    own = window.positions(1)
    if span is None or not own:
        return 0, 0
    start, end = span
    if window.offsets[own[0]][0] > start or window.offsets[own[-1]][1] < end:
        return 0, 0
    within = [at for at in own if window.offsets[at][1] > start and window.offsets[at][0] < end]
    return (within[0], within[-1]) if within else (0, 0)


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split()


def _f1(found: list[str], right: list[str]) -> float:
    if not found or not right:
        return float(found == right)
    shared = sum((Counter(found) & Counter(right)).values())
    return 2 * shared / (len(found) + len(right))


TASK = QuestionAnswering()
