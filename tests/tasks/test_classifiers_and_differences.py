"""Accuracy, macro F1, confusion and disagreement against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfedge import tasks
from tfedge.errors import InputError
from tfedge.tasks.base import disagreement as of_task

LABELS = ("bad", "fair", "good")
accuracy = tasks.find("text-classification").metric
TASKS = {
    "label": "text-classification",
    "embedding": "sentence-embedding",
    "tokens": "token-classification",
    "start": "question-answering",
}
UNANSWERED = {"text": "", "error": "the text is empty"}


def labelled(*labels: str | None) -> list[dict[str, Any]]:
    """Answers of a text classifier; None is a text without an answer."""
    return [UNANSWERED if label is None else {"label": label} for label in labels]


def disagreement(answers: list[dict[str, Any]], others: list[dict[str, Any]]) -> float:
    """By the task that the answers are of."""
    keys = {key for answer in answers for key in answer}
    (task,) = (task for key, task in TASKS.items() if key in keys)
    return of_task(tasks.find(task), answers, others)


def embedded(*vectors: list[float]) -> list[dict[str, Any]]:
    return [{"embedding": vector} for vector in vectors]


def tagged(*texts: str) -> list[dict[str, Any]]:
    """Answers of a token classifier, each given as its labels with blanks between them."""
    return [{"tokens": [{"label": label} for label in text.split()]} for text in texts]


def test_figures_by_hand() -> None:
    answers = labelled("bad", "bad", "fair", "fair", "good", None)
    found = accuracy(answers, [0, 0, 0, 1, 1, 2], LABELS)
    assert found["labels"] == list(LABELS)
    assert found["confusion"] == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert (found["texts"], found["unanswered"]) == (6, 1)
    assert found["accuracy"] == 3 / 6
    # bad: precision 2/2, recall 2/3; fair: 1/2 and 1/2; good: 0/1 and 0/1.
    assert found["macro_f1"] == pytest.approx((4 / 5 + 1 / 2 + 0) / 3)


def test_labels_of_a_confusion_stand_apart() -> None:
    names = ["contradiction", "entailment", "neutral"]
    task = tasks.find("text-classification")
    figures = task.metric(labelled("neutral", "entailment"), [0, 1], names)
    assert task.summary(figures)[1:3] == [
        "true, predicted:  contradiction     entailment        neutral",
        "contradiction                 0              0              1",
    ]


def test_confusion_of_many_labels_is_its_worst_pairs() -> None:
    names = [f"intent {index}" for index in range(13)]
    task = tasks.find("text-classification")
    answers = labelled(*["intent 1"] * 3, "intent 0", "intent 12", *["intent 5"] * 2)
    figures = task.metric(answers, [0, 0, 0, 0, 11, 12, 12], names)
    assert task.summary(figures)[1:] == [
        "the worst 3 of 3 confusions:",
        "  intent 0   taken for intent 1       3 of 4",
        "  intent 12  taken for intent 5       2 of 2",
        "  intent 11  taken for intent 12      1 of 1",
    ]
    right = task.metric(labelled(*names), range(13), names)
    assert task.summary(right) == ["accuracy 100.00 %   macro F1 100.00 %"]
    wrong = task.metric(labelled(*reversed(names)), range(13), names)
    assert task.summary(wrong)[1] == "the worst 10 of 12 confusions:"
    assert len(task.summary(wrong)) == 12
    # Of twelve labels it is whole.
    few = task.metric(labelled(*names[:12]), range(12), names[:12])
    assert len(task.summary(few)) == 14


def test_confusion_has_true_labels_in_its_rows() -> None:
    found = accuracy(labelled("good", "good"), [0, 1], LABELS)
    assert found["confusion"] == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        # As scikit-learn: "fair" neither occurs nor is predicted, and is left out.
        (("bad", "bad", "good"), (0, 2, 2), (2 / 3 + 2 / 3) / 2),
        # Predicted without occurring, it counts as 0.
        (("bad", "fair"), (0, 0), (2 / 3 + 0) / 2),
        (("bad", "good"), (0, 2), 1.0),
        (("good", "bad"), (0, 2), 0.0),
        ((None, None), (0, 2), 0.0),
    ],
    ids=["absent label", "only predicted", "all right", "all wrong", "nothing answered"],
)
def test_macro_f1(
    predicted: tuple[str | None, ...], truth: tuple[int, ...], expected: float
) -> None:
    assert accuracy(labelled(*predicted), truth, LABELS)["macro_f1"] == pytest.approx(expected)


def test_one_answer_a_text() -> None:
    with pytest.raises(ValueError, match="zip"):
        accuracy(labelled("bad"), [0, 0], LABELS)


def test_figures_are_plain_numbers() -> None:
    """They go into JSON, which has no numpy."""
    found = accuracy(labelled("bad"), [0], LABELS)
    assert type(found["accuracy"]) is type(found["macro_f1"]) is float
    assert type(found["confusion"][0][0]) is int


def test_disagreement_of_labels() -> None:
    answers = labelled("bad", "good", None, None)
    assert disagreement(answers, answers) == 0
    assert disagreement(answers, labelled("bad", "bad", None, None)) == 1 / 4
    # What only one of the two answers differs, whichever it is.
    assert disagreement(answers, labelled("bad", None, "good", None)) == 2 / 4
    assert disagreement(labelled("bad", None, "good", None), answers) == 2 / 4


def test_disagreement_of_tokens_is_a_mean_of_means() -> None:
    # 1 of 4 tokens, and 1 of 1: not 2 of 5.
    answers, others = tagged("O O NAME O", "O"), tagged("O O O O", "NAME")
    assert disagreement(answers, others) == (1 / 4 + 1) / 2


def test_tokens_that_one_model_cuts_off_differ() -> None:
    assert disagreement(tagged("O NAME O"), tagged("O NAME")) == pytest.approx(1 / 3)
    assert disagreement(tagged("O"), tagged("O NAME O NAME")) == 3 / 4


def test_disagreement_of_spans() -> None:
    bob, again = ({"answer": "Bob", "start": start, "end": start + 3} for start in (0, 10))
    longer = {"answer": "Bob is", "start": 0, "end": 6}
    # The same word elsewhere is another span.
    assert disagreement([bob, bob, bob], [bob, again, longer]) == pytest.approx(2 / 3)


def test_disagreement_of_embeddings() -> None:
    # Angles of 0, 90 and 180 degrees, and one of cosine 24/25; lengths do not matter.
    answers = embedded([2, 0], [1, 0], [1, 0], [3, 4])
    others = embedded([5, 0], [0, 1], [-1, 0], [4, 3])
    found = [disagreement([a], [b]) for a, b in zip(answers, others, strict=True)]
    np.testing.assert_allclose(found, [0, 1, 2, 1 / 25], atol=1e-12)
    assert disagreement(answers, others) == pytest.approx(np.mean(found))


def test_embedding_of_zeros_is_like_no_other() -> None:
    assert disagreement(embedded([0, 0]), embedded([1, 0])) == 1


def test_embeddings_of_different_widths() -> None:
    with pytest.raises(InputError, match="embeddings of 2 and 3 numbers cannot be compared"):
        disagreement(embedded([1, 0]), embedded([1, 0, 0]))
