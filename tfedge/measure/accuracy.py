"""Accuracy of answers against labels, and disagreement of two models' answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

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
    different labels. Question answering: 1 where the spans differ. Sentence embedding: 1 minus the
    cosine. A text that only one of the two answers counts as 1.
    """
    return float(np.mean([_difference(a, b) for a, b in zip(answers, others, strict=True)]))


def cosines(answers: Sequence[Answer], others: Sequence[Answer]) -> np.ndarray:
    """The cosine of each pair of sentence embeddings, float64 (n,)."""
    return np.array([_cosine(a, b) for a, b in zip(answers, others, strict=True)])


def _difference(answer: Answer, other: Answer) -> float:
    if "error" in answer or "error" in other:
        return float(("error" in answer) != ("error" in other))
    if "embedding" in answer:
        return 1.0 - _cosine(answer, other)
    if "tokens" in answer:
        pairs = zip(answer["tokens"], other["tokens"], strict=True)
        return float(np.mean([a["label"] != b["label"] for a, b in pairs]))
    key = "label" if "label" in answer else "answer"
    return float(answer[key] != other[key])


def _cosine(answer: Answer, other: Answer) -> float:
    a, b = np.asarray(answer["embedding"]), np.asarray(other["embedding"])
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))
