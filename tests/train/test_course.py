"""Which courses of a training say that there was more to learn."""

from __future__ import annotations

import pytest

from tfedge.train.course import Course

RIGHT = "50 % of the texts trained on were labelled rightly"
FELL = "the loss still fell, from 0.8 to 0.4"


@pytest.mark.parametrize(
    ("losses", "accuracy", "said"),
    [
        ([1.6, 1.2, 0.8, 0.4], None, f"in the last quarter {FELL}"),
        ([1.6, 1.2, 0.8, 0.4], 0.5, f"in the last quarter {RIGHT} and {FELL}"),
        ([1.6, 1.2, 0.8, 0.75], 0.5, f"in the last quarter {RIGHT}"),
        # As far as it goes, though some texts stay wrong.
        ([1.6, 1.2, 0.8, 0.75], 0.8, None),
        # All is learnt, whatever the loss does.
        ([1.6, 1.2, 0.8, 0.4], 0.97, None),
        # What is left of the loss does not matter.
        ([1.6, 0.2, 0.1, 0.05], None, None),
        # Too short to tell, or resumed at the end.
        ([0.4], None, None),
    ],
)
def test_signs(losses: list[float], accuracy: float | None, said: str | None) -> None:
    course = Course(80)
    for index, loss in enumerate(losses):
        figures = {"loss": loss} | ({} if accuracy is None else {"accuracy": accuracy})
        course.add(80 - 20 * (len(losses) - 1 - index), figures)
    assert course.undertrained() == said


def test_nothing_was_told() -> None:
    assert Course(80).undertrained() is None
