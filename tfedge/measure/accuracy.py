"""Accuracy of answers against labels, and disagreement of two models' answers."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfedge.errors import InputError

Answer = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """How well predicted labels fit.

    Attributes:
        accuracy: share of texts labelled rightly, 0..1; a text without an answer counts as wrong.
        macro_f1: mean over the labels of the harmonic mean of precision and recall, 0..1; labels
            that neither occur nor are predicted are left out, as scikit-learn does.
        confusion: rows are true labels, columns predicted ones, in the order of `labels`.
        unanswered: texts without an answer.
    """

    labels: list[str]
    texts: int
    accuracy: float
    macro_f1: float
    confusion: list[list[int]]
    unanswered: int


def accuracy(answers: Sequence[Answer], truth: Sequence[int], labels: Sequence[str]) -> Accuracy:
    """Compares answers of a text classifier with the true labels.

    Args:
        truth: indices into `labels`.
    """
    index = {label: position for position, label in enumerate(labels)}
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    unanswered = 0
    for answer, true in zip(answers, truth, strict=True):
        if "error" in answer:
            unanswered += 1
        else:
            confusion[true, index[answer["label"]]] += 1
    right = np.diag(confusion)
    missed = np.bincount(np.asarray(truth), minlength=len(labels)) - right
    denominator = 2 * right + missed + (confusion.sum(0) - right)
    f1 = 2 * right[denominator > 0] / denominator[denominator > 0]
    return Accuracy(
        labels=list(labels),
        texts=len(truth),
        accuracy=float(right.sum() / len(truth)),
        macro_f1=float(f1.mean()),
        confusion=confusion.tolist(),
        unanswered=unanswered,
    )


def disagreement(answers: Sequence[Answer], others: Sequence[Answer]) -> float:
    """How much two models' answers differ, 0..1, mean over all texts.

    Text classification: 1 where the labels differ. Token classification: the share of tokens with
    different labels, one that only one of the two has among them. Question answering: 1 where the
    spans differ. Sentence embedding: 1 minus the cosine. A text that only one of the two answers
    counts as 1.

    Raises:
        InputError: answers of different tasks, or embeddings of different widths.
    """
    return float(np.mean([_difference(a, b) for a, b in zip(answers, others, strict=True)]))


def _difference(answer: Answer, other: Answer) -> float:
    if "error" in answer or "error" in other:
        return float(("error" in answer) != ("error" in other))
    for kind in ("embedding", "tokens", "label", "start"):
        if (kind in answer) != (kind in other):
            raise InputError("the two models answer different tasks and cannot be compared")
    if "embedding" in answer:
        return 1.0 - _cosine(answer, other)
    if "tokens" in answer:
        # A model of a shorter sequence has cut off what comes last.
        labels = ([token["label"] for token in item["tokens"]] for item in (answer, other))
        return float(np.mean([a != b for a, b in itertools.zip_longest(*labels)]))
    keys = ("label",) if "label" in answer else ("start", "end")
    return float(any(answer[key] != other[key] for key in keys))


def _cosine(answer: Answer, other: Answer) -> float:
    a, b = np.asarray(answer["embedding"]), np.asarray(other["embedding"])
    if a.shape != b.shape:
        raise InputError(f"embeddings of {len(a)} and {len(b)} numbers cannot be compared")
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
