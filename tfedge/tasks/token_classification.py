"""Chooses a label for each token of a text."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.errors import InputError
from tfedge.runtime.errors import TextError
from tfedge.runtime.tasks import token_classification as board
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks import columns, losses, paired, spans
from tfedge.tasks.base import Answers, Figures, Outputs, Rows, Task, Truth
from tfedge.tasks.spans import OUTSIDE

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.architectures.base import EncoderConfig
    from tfedge.data.hub import Data
    from tfedge.models.blocks import Blocks, Symbolic, Tensors
    from tfedge.models.checkpoint import Checkpoint
    from tfedge.runtime.tokenizer import TextEncoder

_LABELS = ("labels", "tags", "ner_tags")
Words = list[tuple[int, str]]  # where a word begins in the text, and its label


class TokenClassification(Task, board.TokenClassification):
    """`logits` (B, S, num_labels), one row a token."""

    kind = "ForTokenClassification"
    wanted = (
        "the columns tokens and labels (or tags, ner_tags), text and entities, or a .conll file"
    )
    score = "f1"  # of what is outside of entities there is most, and that is easy
    has_aims_of_tokens = True
    trains_on_labels = True

    def logits_modules(self, config: EncoderConfig) -> tuple[str, ...]:
        return ("classifier",)

    def modules(self, config: EncoderConfig) -> tuple[str, ...]:
        return (*config.architecture.token_summary_modules, *self.logits_modules(config))

    def fit(self, checkpoint: Checkpoint) -> int:
        """Only the name of the class tells its weights from a text classifier's."""
        return super().fit(checkpoint) if self.is_named(checkpoint) else 0

    def head(self, blocks: Blocks, hidden: Symbolic, inputs: Tensors, num_labels: int) -> Tensors:
        states = blocks.config.architecture.token_summary(blocks, hidden)
        logits = blocks.dense("classifier", num_labels, blocks.dropout("classifier", states))
        return {"logits": blocks.per_token(logits)}

    def output_losses(
        self, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """Soft cross-entropy of each real token's logits (B, S, L)."""
        import tensorflow as tf

        ours, theirs = (tf.boolean_mask(found["logits"], mask) for found in (output, target))
        return losses.soft_cross_entropies(ours, theirs, temperature)

    def differences(self, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        """The share of real tokens with another label."""
        import tensorflow as tf

        real = tf.cast(mask, tf.float32)
        other = losses.others(output["logits"], target["logits"])
        return tf.reduce_sum(other * real, -1) / tf.reduce_sum(real, -1)

    def new_labels(self, rows: Rows) -> list[str]:
        """What is outside first, the others sorted."""
        found = {tag for words in self.with_truth(rows).truth or () for _, tag in words}
        return sorted(found, key=lambda tag: (tag != OUTSIDE, tag.partition("-")[::-1]))

    def lessons(
        self, rows: Rows, encoder: TextEncoder, labels: Labels
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """The label of a word at its first piece, `losses.IGNORED` at all others (Devlin et al. 2019,
        section 5.3); words that are cut off are not learned."""
        truth = self.truth(self.with_truth(rows), labels) or ()
        index = {label: position for position, label in enumerate(labels)}
        sequences, aims = [], []
        for number, (text, words) in enumerate(zip(rows.items, truth, strict=True), 1):
            try:
                encoded = encoder.encode(text)
            except TextError as error:
                raise InputError(f"{rows.source}, row {number}: {error}") from error
            tags = dict(words)
            own = np.full(len(encoded), losses.IGNORED, np.int32)
            for position in encoded.positions(0):
                tag = tags.pop(encoded.offsets[position][0], None)
                if tag is not None:
                    own[position] = index[tag]
            sequences.append(np.array(encoded.ids, np.int32))
            aims.append(own)
        padded = np.full((len(aims), max(map(len, aims))), losses.IGNORED, np.int32)
        for row, own in zip(padded, aims, strict=True):
            row[: len(own)] = own
        return sequences, padded

    def alike(self, aims: np.ndarray, labels: Labels) -> str:
        found = np.unique(aims[aims != losses.IGNORED])
        return "" if len(found) > 1 else "the same labels"

    def prior(self, aims: np.ndarray, num_labels: int) -> np.ndarray:
        """The logarithm of each label's share of the words, as if half a word more had it."""
        counts = np.bincount(aims[aims != losses.IGNORED], minlength=num_labels) + 0.5
        return np.asarray(np.log(counts / counts.sum()), np.float32)

    def label_losses(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor:
        """Cross-entropy of each labelled token; a text counts by how many it has."""
        import tensorflow as tf

        told = tf.cast(aims != losses.IGNORED, tf.float32)
        logits, labels = output["logits"], tf.maximum(aims, 0)
        found = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        tokens_a_text = tf.reduce_mean(tf.reduce_sum(told, -1))
        return tf.reduce_sum(found * told, -1) / tf.maximum(tokens_a_text, 1.0)

    def rights(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor | None:
        import tensorflow as tf

        told = tf.cast(aims != losses.IGNORED, tf.float32)
        found = tf.cast(tf.argmax(output["logits"], -1, aims.dtype) == aims, tf.float32)
        return tf.math.divide_no_nan(tf.reduce_sum(found * told, -1), tf.reduce_sum(told, -1))

    def read(self, data: Data) -> Rows:
        """Texts of words with blanks between them, and each word's label.

        Labels are words, or numbers of the model's labels.
        """
        rows, source = data.table, data.name
        if marks := next((name for name in spans.NAMES if name in rows[0]), None):
            return self._marked(data, marks)
        words_in = data.columns.text_column or columns.WORDS
        labels = data.columns.label(rows[0], _LABELS, source)
        if labels is None or words_in not in rows[0]:
            return self.rows(columns.texts_alone(data, self.name, self.wanted))
        texts, truth = [], []
        for number, row in enumerate(rows, 1):
            tokens: Any = row.get(words_in)
            tags = row.get(labels)
            words = isinstance(tokens, list) and all(isinstance(word, str) for word in tokens)
            if not words or not isinstance(tags, list) or len(tags) != len(tokens) or not tokens:
                raise InputError(
                    f"{source}, row {number}: {words_in!r} and {labels!r} must be lists of equal "
                    "length, of words and of their labels"
                )
            begins = itertools.accumulate((len(word) + 1 for word in tokens), initial=0)
            texts.append(" ".join(tokens))
            truth.append([(begin, str(tag)) for begin, tag in zip(begins, tags, strict=False)])
        columns.tell(source, "", [name for name in rows[0] if name not in (words_in, labels)])
        return Rows(texts, truth, source)

    def _marked(self, data: Data, marks: str) -> Rows:
        """Texts, and labels of their words by the entities in a column."""
        texts = data.texts()
        truth = [
            spans.tagged(text, row.get(marks), f"{data.name}, row {number}")
            for number, (text, row) in enumerate(zip(texts.texts, data.table, strict=True), 1)
        ]
        columns.tell(data.name, "", [name for name in texts.left_out if name != marks])
        return Rows(texts.texts, truth, data.name)

    def truth(self, rows: Rows, labels: Labels) -> Sequence[Words] | None:
        """Numbers of labels become their names."""
        if rows.truth is None:
            return None
        names = {str(index): label for index, label in enumerate(labels)}
        names |= {label: label for label in labels}
        unknown = sorted({tag for words in rows.truth for _, tag in words if tag not in names})
        if unknown:
            raise InputError(
                f"{rows.source} has labels {unknown[:5]} that the model does not know; "
                f"its labels are {columns.first_of(labels)}; write these, or their numbers from 0"
            )
        return [[(begin, names[tag]) for begin, tag in words] for words in rows.truth]

    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """Accuracy by word, and precision, recall and F1 of entities.

        A word has the label of its first piece, as is usual; one that was cut off or in a text without
        an answer has a wrong one and is outside of entities. Entities are right that have the same
        words and type, and are found as by seqeval (and conlleval before it).
        """
        words = right = found = expected = same = 0
        for answer, true in zip(answers, truth, strict=True):
            predicted = _of_words(answer, true)
            tags = [tag for _, tag in true]
            words += len(tags)
            right += sum(map(operator.eq, predicted, tags))
            ours = set(entities([tag or OUTSIDE for tag in predicted]))
            theirs = set(entities(tags))
            found += len(ours)
            expected += len(theirs)
            same += len(ours & theirs)
        return {
            "words": words,
            "accuracy": right / words,
            "entities": expected,
            "precision": same / found if found else 0.0,
            "recall": same / expected if expected else 0.0,
            "f1": 2 * same / (found + expected) if found + expected else 0.0,
        }

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        return [
            f"accuracy {100 * figures['accuracy']:.2f} % of {figures['words']} words   entity F1 "
            f"{100 * figures['f1']:.2f} % (precision {100 * figures['precision']:.2f} %, recall "
            f"{100 * figures['recall']:.2f} %)"
        ]

    def difference(self, answer: Answer, other: Answer) -> float:
        """The share of tokens with different labels, one that only one of the two has among them."""
        # A model of a shorter sequence has cut off what comes last.
        labels = ([token["label"] for token in item["tokens"]] for item in (answer, other))
        return float(np.mean([a != b for a, b in itertools.zip_longest(*labels)]))

    def comparison(
        self, answers: Answers, others: Answers, truth: Truth | None, labels: Labels
    ) -> Figures:
        """The labels of words as `metric` takes them, of tokens where the truth is not known; see
        `paired`."""
        if truth is None:
            ours, theirs = (
                [[token["label"] for token in answer.get("tokens", ())] for answer in side]
                for side in (answers, others)
            )
            return paired.paired(ours, theirs, None)
        ours, theirs = (list(map(_of_words, side, truth)) for side in (answers, others))
        return paired.paired(ours, theirs, [[tag for _, tag in words] for words in truth])

    def comparison_lines(self, figures: Mapping[str, Any], other: str) -> list[str]:
        return paired.lines(figures, "words" if "p_value" in figures else "tokens", other)


def _of_words(answer: Answer, words: Words) -> list[str | None]:
    """The labels of words, each that of its first piece; None where that is cut off."""
    pieces = {token["start"]: token["label"] for token in reversed(answer.get("tokens", ()))}
    return [pieces.get(begin) for begin, _ in words]


def entities(tags: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Type, first and last position of what tags in IOB, IOB2 or IOBES mark, by seqeval's rules.

    An entity begins where one of its type does not go on: I-X after O or after another type begins
    one too.
    """
    begin, kind, before = 0, "", OUTSIDE
    for position, tag in enumerate([*tags, OUTSIDE]):
        mark, dash, name = tag.partition("-")
        if not dash and tag != OUTSIDE:  # no scheme: what stands side by side belongs together
            mark, name = "I", tag
        goes_on = mark in ("I", "E") and before in ("B", "I") and name == kind
        if not goes_on:
            if before != OUTSIDE:
                yield kind, begin, position - 1
            begin, kind = position, name
        before = mark


TASK = TokenClassification()
