"""What tasks share that tell which labels the whole input has, any number of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfedge.errors import InputError
from tfedge.runtime.tasks import classification as board
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks import columns, problems
from tfedge.tasks.base import Answers, Figures, Outputs, Rows, Truth
from tfedge.tasks.classification import Classifier

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts

# Between the labels of one cell; lists of JSON are read as with the first.
_SEPARATORS = re.compile("[|;,]")
_ENOUGH = 20  # held-out texts of a label, for a threshold of its own
_FLAGS = frozenset(("0", "1", "0.0", "1.0"))


class MultiLabel(Classifier, board.MultiLabel):
    """`logits` (B, num_labels), each of which says of one label whether it applies."""

    problem = problems.MULTI_LABEL
    wanted = "the columns text and labels (a list, or names with | between them)"
    score: ClassVar[str] = "micro_f1"
    has_thresholds = True

    def goal(self, rows: Rows) -> str:
        return "macro_f1"

    def output_losses(
        self, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """T^2 KL of each label's probability at temperature T, summed over the labels."""
        import tensorflow as tf

        logits, wanted = output["logits"] / temperature, target["logits"] / temperature
        aim = tf.sigmoid(wanted)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(aim, wanted)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(aim, logits) - entropy
        return temperature**2 * tf.reduce_sum(losses, -1)

    def differences(self, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        """The share of labels about which the models differ, of those that one of them gives."""
        import tensorflow as tf

        ours, theirs = (found["logits"] >= 0 for found in (output, target))
        either, other = (
            tf.reduce_sum(tf.cast(found, tf.float32), -1)
            for found in (tf.logical_or(ours, theirs), tf.not_equal(ours, theirs))
        )
        return tf.math.divide_no_nan(other, either)

    def new_labels(self, rows: Rows) -> list[str]:
        """Of a row with a 1 or a 0 for each label no names are known."""
        words = [word for cell in self.with_truth(rows).truth or () for word in _split(cell)]
        if not words or _FLAGS.issuperset(words):
            raise InputError(
                f"{rows.source} has no names of labels, only {sorted(set(words))[:2]}; name them in "
                "their order with --labels"
            )
        return columns.label_names(words, rows.source)

    def aims(self, truth: Truth, labels: Labels) -> np.ndarray:
        """1 for each label that applies, float32 (n, L)."""
        return np.array([[i in found for i in range(len(labels))] for found in truth], np.float32)

    def label_losses(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor:
        """Cross-entropy of each label by itself, summed."""
        import tensorflow as tf

        found = tf.nn.sigmoid_cross_entropy_with_logits(aims, output["logits"])
        return tf.reduce_sum(found, -1)

    def prior(self, aims: np.ndarray, num_labels: int) -> np.ndarray:
        """The log-odds of each label, as if half a text more had it and half a text had not."""
        counts = aims.sum(0) + 0.5
        return np.asarray(np.log(counts / (len(aims) + 1 - counts)), np.float32)

    def shift(self, logits: np.ndarray, aims: np.ndarray) -> np.ndarray:
        """So that 0.5 is the threshold with the largest F1 of a label (Yang 2001, A study of
        thresholding strategies, SCut); one that few texts have takes what is best for all on average.
        """
        candidates = np.linspace(-6, 6, 121)
        f1 = np.array([_f1(logits >= level, aims > 0) for level in candidates])  # (121, L)
        # In the middle of what is equally good: further texts may fall on either side.
        common = _middle(candidates, f1.mean(1))
        levels = [
            _middle(candidates, f1[:, label]) if count >= _ENOUGH else common
            for label, count in enumerate(aims.sum(0))
        ]
        return -np.array(levels, np.float32)

    def rows(self, texts: Texts) -> Rows:
        cells = map(_split, texts.labels or ())
        columns.check_count(itertools.chain.from_iterable(cells), texts.source)
        return super().rows(texts)

    def texts(self, data: Data) -> Texts:
        """With labels, where there are any; a cell may be empty."""
        return data.texts(may_lack_labels=True)

    def truth(self, rows: Rows, labels: Labels) -> Sequence[frozenset[int]] | None:
        """The labels of each item as indices; an empty cell has none.

        A row may also have a 1 or a 0 for each label, as transformers trains on.
        """
        if rows.truth is None:
            return None
        cells = [_words(cell, labels) for cell in rows.truth]
        if _are_flags(cells, labels):
            return [frozenset(np.flatnonzero(np.array(cell, float)).tolist()) for cell in cells]
        ids = iter(
            columns.label_ids([word for cell in cells for word in cell], labels, rows.source)
        )
        return [frozenset(next(ids) for _ in cell) for cell in cells]

    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """How well the labels fit that are given, an item without an answer having none.

        Returns:
            `micro_f1` over all decisions together, `macro_f1`, the mean over labels that occur or are
            given (as scikit-learn has both), `accuracy`, the share of items with all labels right and
            no others; `labels`, `texts`, and how many are `unanswered`.
        """
        index = {label: position for position, label in enumerate(labels)}
        given = [
            frozenset(index[label] for label in answer.get("labels", ())) for answer in answers
        ]
        found, true = (
            np.array([[label in item for label in range(len(labels))] for item in side])
            for side in (given, truth)
        )
        right, total = (found & true).sum(0), found.sum(0) + true.sum(0)
        occurs = total > 0
        return {
            "labels": list(labels),
            "texts": len(truth),
            "accuracy": float((found == true).all(1).mean()),
            "micro_f1": float(2 * right.sum() / total.sum()) if occurs.any() else 1.0,
            "macro_f1": float((2 * right[occurs] / total[occurs]).mean()) if occurs.any() else 1.0,
            "unanswered": sum("error" in answer for answer in answers),
        }

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        return [
            f"micro F1 {100 * figures['micro_f1']:.2f} %   "
            f"macro F1 {100 * figures['macro_f1']:.2f} %   "
            f"all labels right {100 * figures['accuracy']:.2f} %"
        ]

    def difference(self, answer: Answer, other: Answer) -> float:
        """The share of labels that only one of the two gives, of all that they give."""
        ours, theirs = set(answer["labels"]), set(other["labels"])
        return len(ours ^ theirs) / len(ours | theirs) if ours or theirs else 0.0


def _f1(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Of each label, (L,), of decisions (n, L); 0 where a label is neither given nor true."""
    total = found.sum(0) + true.sum(0)
    return np.asarray(2 * (found & true).sum(0) / np.maximum(total, 1))


def _middle(candidates: np.ndarray, scores: np.ndarray) -> float:
    """The middle one of the candidates with the highest score."""
    best = candidates[scores >= scores.max() - 1e-9]
    return float(best[len(best) // 2])


def _are_flags(cells: Sequence[Sequence[str]], labels: Labels) -> bool:
    """Whether each row tells of every label whether it applies, rather than which ones do."""
    is_known = not _FLAGS.isdisjoint(labels)
    return (
        len(labels) > 1
        and not is_known
        and all(len(cell) == len(labels) and _FLAGS.issuperset(cell) for cell in cells)
    )


def _words(cell: str, labels: Labels) -> list[str]:
    """The labels in a cell; one whose own name has a separator in it may stand there alone."""
    if columns.key(cell) in map(columns.key, labels):
        return [cell]
    return _split(cell)


def _split(cell: str) -> list[str]:
    return [word for part in _SEPARATORS.split(cell) if (word := part.strip())]
