"""The threshold of what is out of scope, against every threshold tried."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge.errors import InputError
from tfedge.tasks import scope

LABELS = ("yes", "no", "Out of  scope")
LOGITS = st.lists(st.integers(-4, 4).map(float), min_size=3, max_size=3)


def f1_of(logits: np.ndarray, truth: np.ndarray, index: int) -> float:
    others = np.delete(logits, index, axis=1).max(axis=1)
    given, true = logits[:, index] > others, truth == index
    return float(2 * (given & true).sum() / (given.sum() + true.sum()))


@settings(max_examples=300)
@given(st.lists(st.tuples(LOGITS, st.integers(0, 2)), min_size=1, max_size=20))
def test_no_threshold_is_better(rows: list[tuple[list[float], int]]) -> None:
    logits, truth = np.array([row for row, _ in rows]), np.array([label for _, label in rows])
    truth[0] = 2

    def shifted(amount: float) -> float:
        moved = logits.copy()
        moved[:, 2] += amount
        return f1_of(moved, truth, 2)

    found = shifted(scope.shift(logits, truth, 2))
    assert found == max(shifted(amount) for amount in np.arange(-10.25, 10.5, 0.5))


def test_the_threshold_is_in_the_middle() -> None:
    logits = np.array([[5.0, 0.0, 0.0], [4.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert scope.shift(logits, np.array([0, 0, 2, 2]), 2) == 2.5


def test_figures() -> None:
    confusion = [[8, 1, 1], [0, 9, 1], [1, 2, 7]]
    assert scope.figures(confusion, 2) == {
        "out_of_scope_recall": 0.7,
        "out_of_scope_precision": 7 / 9,
        "in_scope_accuracy": 17 / 20,
    }
    assert scope.figures([[1, 0], [0, 0]], 1)["out_of_scope_precision"] is None


def test_labels_are_compared_as_everywhere() -> None:
    assert scope.place("out OF scope", LABELS) == 2
    with pytest.raises(InputError, match="none of the labels, which are 'yes', 'no' and"):
        scope.place("oos", LABELS)
