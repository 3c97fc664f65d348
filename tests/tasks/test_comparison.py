"""What is told of two models beside how much they differ, against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfedge import tasks
from tfedge.tasks.paired import paired

SENTENCES = tasks.find("sentence-embedding")
TEXTS = tasks.find("text-classification")
TOKENS = tasks.find("token-classification")
QUESTIONS = tasks.find("question-answering")
UNANSWERED = {"text": "", "error": "the text is empty"}


def labelled(labels: str) -> list[dict[str, Any]]:
    """Answers of a classifier, a letter a text; `-` is a text without an answer."""
    return [UNANSWERED if label == "-" else {"label": label} for label in labels]


def test_pairs_of_labels() -> None:
    ours, theirs, true = labelled("aaabb-"), labelled("abbba-"), [0, 0, 1, 1, 1, 0]
    found = TEXTS.comparison(ours, theirs, true, ["a", "b"])
    assert found == {
        "compared": 6,
        "same": 3,
        "both_right": 2,  # the first and the fourth
        "only_this_right": 2,  # the second and the fifth
        "only_other_right": 1,  # the third
        "p_value": 1.0,
    }
    assert TEXTS.comparison(ours, theirs, None, ["a", "b"]) == {"compared": 6, "same": 3}
    assert TEXTS.comparison_lines(found, "float") == [
        "3 of 6 texts alike; both right 2, this alone 2, float alone 1 (sign test: p = 1)"
    ]


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [
        (0, 0, 1.0),
        (0, 5, 2 / 2**5),
        (5, 0, 2 / 2**5),
        (1, 7, 2 * (1 + 8) / 2**8),
    ],
)
def test_chance_of_a_loss(better: int, worse: int, expected: float) -> None:
    """By binomial coefficients; texts that both models answer alike do not count."""
    ours = "a" * better + "b" * worse + "ab" * 10
    theirs = "b" * better + "a" * worse + "ab" * 10
    found = paired(list(ours), list(theirs), ["a"] * len(ours))
    assert found["p_value"] == pytest.approx(expected)


def tagged(*texts: str) -> list[dict[str, Any]]:
    """Answers of a tagger to texts of words of one letter."""
    return [
        {"tokens": [{"start": 2 * at, "label": tag} for at, tag in enumerate(tags.split())]}
        for tags in texts
    ]


def test_pairs_of_words_are_tested_by_text() -> None:
    true = [[(0, "O"), (2, "X")], [(0, "X"), (2, "X")], [(0, "O")]]
    ours, theirs = tagged("O X", "X X", "O"), tagged("O O", "O O", "X")
    # The last word of the second text is cut off in one.
    ours[1]["tokens"].pop()
    found = TOKENS.comparison(ours, theirs, true, ["O", "X"])
    assert found == {
        "compared": 5,
        "same": 1,
        "both_right": 1,
        "only_this_right": 3,
        "only_other_right": 0,
        "p_value": 2 / 2**3,  # three texts, all for one
    }
    (line,) = TOKENS.comparison_lines(found, "float")
    assert line.startswith("1 of 5 words alike; both right 1, this alone 3, float alone 0")
    alone = TOKENS.comparison([*ours, UNANSWERED], [*theirs, *tagged("O O")], None, ["O", "X"])
    assert alone == {"compared": 7, "same": 1}
    assert TOKENS.comparison_lines(alone, "float") == ["1 of 7 tokens alike"]


def test_a_task_may_have_nothing_to_tell() -> None:
    spans = [{"start": 0, "end": 1, "answer": "a"}]
    assert QUESTIONS.comparison(spans, spans, None, []) == {}
    assert QUESTIONS.comparison_lines({}, "float") == QUESTIONS.shortfalls({}, 1.0) == []


def at(*degrees: float) -> list[dict[str, Any]]:
    """Embeddings in a plane; their length does not matter."""
    radians = np.deg2rad(degrees)
    return [{"embedding": [3 * np.cos(angle), 3 * np.sin(angle)]} for angle in radians]


def test_embeddings_by_hand() -> None:
    # Nearest of float: 0-10, 10-0, 30-10, 70-30. The third moves to the fourth.
    found = SENTENCES.comparison(at(0, 10, 60, 70), at(0, 10, 30, 70), None, [])
    assert found["mean_cosine"] == pytest.approx((3 + np.cos(np.pi / 6)) / 4)
    assert found["least_cosine"] == pytest.approx(np.cos(np.pi / 6))
    # The fourth has its old neighbour still, the third another one.
    assert (found["same_neighbour"], found["neighbours"]) == (3, 4)
    # Angles between pairs: 10 60 70 50 60 10 and 10 30 70 20 60 40; ranks 1.5 4.5 6 3 4.5 1.5 and
    # 1 3 6 2 5 4.
    expected = np.corrcoef([1.5, 4.5, 6, 3, 4.5, 1.5], [1, 3, 6, 2, 5, 4])[0, 1]
    assert found["rank_correlation"] == pytest.approx(expected)
    assert SENTENCES.comparison_lines(found, "float") == [
        "cosine 0.967, least 0.866; 3 of 4 texts keep their nearest neighbour; rank correlation of "
        f"similarities {expected:.3f}"
    ]


def test_texts_that_are_equally_near() -> None:
    """Of a text that occurs three times, each copy has two neighbours, and either is right."""
    same = SENTENCES.comparison(at(1e-5, 0, 0, 50), at(0, 0, 1e-5, 50), None, [])
    assert (same["same_neighbour"], same["neighbours"]) == (4, 4)
    assert same["rank_correlation"] == pytest.approx(1)


def test_few_embeddings() -> None:
    found = SENTENCES.comparison(at(0, 90), at(60, 90), None, [])
    assert found == {"mean_cosine": pytest.approx(0.75), "least_cosine": pytest.approx(0.5)}
    assert SENTENCES.comparison_lines(found, "float") == ["cosine 0.750, least 0.500"]
    assert SENTENCES.comparison([UNANSWERED], [UNANSWERED], None, []) == {}
    assert SENTENCES.comparison_lines({}, "float") == SENTENCES.shortfalls({}, 1.0) == []


def test_a_text_that_one_model_answers() -> None:
    found = SENTENCES.comparison(
        [*at(0, 10), UNANSWERED], [*at(0), UNANSWERED, UNANSWERED], None, []
    )
    assert found == {"mean_cosine": pytest.approx(0.5), "least_cosine": 0.0}


def test_embeddings_that_tell_nothing_apart() -> None:
    found = SENTENCES.comparison(at(0, 0, 0, 0), at(0, 10, 30, 70), None, [])
    assert found["rank_correlation"] == 0


# Measured: all-MiniLM-L6-v2 in int8 on the package's sentences, and an encoder of 12 layers and 768
# channels whose int8 is of no use.
GOOD = {
    "least_cosine": 0.9597,
    "neighbours": 280,
    "same_neighbour": 227,
    "rank_correlation": 0.9873,
}
BAD = {"least_cosine": 0.66, "neighbours": 200, "same_neighbour": 70, "rank_correlation": 0.9}


def test_what_a_conversion_must_keep() -> None:
    """As README and docs/limits.md state it, for the default `--max-drop` and another."""
    assert SENTENCES.max_drop == 2.0
    assert SENTENCES.shortfalls(GOOD, 2.0) == []
    assert SENTENCES.shortfalls(BAD, 2.0) == [
        "least cosine 0.66, below 0.85",
        "rank correlation 0.9, below 0.97",
        "share of neighbours kept 0.35, below 0.5757",
    ]
    assert SENTENCES.shortfalls({**GOOD, "same_neighbour": 196}, 1.0) == []
    assert SENTENCES.shortfalls({**GOOD, "same_neighbour": 195}, 1.0) == [
        "share of neighbours kept 0.6964, below 0.7"
    ]
    assert SENTENCES.shortfalls(GOOD, 0.5) == [
        "least cosine 0.9597, below 0.9625",
        "rank correlation 0.9873, below 0.9925",
    ]
    assert SENTENCES.shortfalls(BAD, 100.0) == []


def test_neighbours_of_few_texts_reject_nothing() -> None:
    few = {**BAD, "least_cosine": 0.99, "neighbours": 49, "same_neighbour": 1}
    assert SENTENCES.shortfalls(few, 2.0) == []
    assert len(SENTENCES.shortfalls({**few, "neighbours": 50}, 2.0)) == 2
