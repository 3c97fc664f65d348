"""The words of a verdict: what is said of which figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfedge.show.verdict import (
    Figure,
    accuracy,
    agreement,
    instructions,
    lines,
    missing,
    sized,
    timed,
    verdict,
)

ABSENT = missing("peers", "ms", "python -m benchmarks races them")
POSITIVE = st.floats(1e-3, 1e9)


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (accuracy("accuracy", 0.901, 0.904, ""), "as accurate as float (90.1 % against 90.4 %)"),
        (
            accuracy("accuracy", 0.88, 0.9, ""),
            "2.0 points less accurate than float (88.0 % against 90.0 %)",
        ),
        (
            accuracy("accuracy", 0.92, 0.9, ""),
            "2.0 points more accurate than float (92.0 % against 90.0 %)",
        ),
        (accuracy("micro f1", 0.5, None, ""), "micro f1 50.0 %"),
        (agreement(0.996, ""), "99.6 % of the answers of float"),
        (sized(16_000_000, 57_600_000, ""), "3.6 times smaller"),
        (sized(57_600_000, 57_600_000, ""), "as large as float"),
        (sized(2_000_000, 1_000_000, ""), "2.0 times larger"),
        (sized(16_000_000, None, ""), "16 MB"),
        (timed(2.0, 7.4, ""), "3.7 times faster than float"),
        (timed(7.4, 2.0, ""), "3.7 times slower than float"),
        (timed(2.0, 2.05, ""), "as fast as float"),
        (timed(18.83, None, ""), "18.8 ms a text"),
        (instructions(62.0, 228.0, ""), "3.7 times fewer instructions than float"),
        (instructions(10.0, 1000.0, ""), "100 times fewer instructions than float"),
    ],
)
def test_words(figure: Figure, words: str) -> None:
    assert figure.words == words


def test_sentence_and_lines() -> None:
    found = verdict("a", [sized(16_000_000, 57_600_000, "the files"), ABSENT])
    assert found.sentence == "a: 3.6 times smaller; not measured: peers"
    assert lines(found) == [
        found.sentence,
        "  size   16 MB, float 57.6 MB (the files)",
        "  peers  not measured (python -m benchmarks races them)",
    ]
    assert verdict("a", [ABSENT]).sentence == "a: not measured: peers"
    assert verdict("a", [timed(1.0, None, "")]).sentence == "a: 1.00 ms a text"


@given(POSITIVE, POSITIVE)
def test_the_smaller_is_called_smaller(ours: float, other: float) -> None:
    words = sized(ours, other, "").words
    assert ("smaller" in words) <= (ours < other)
    assert ("larger" in words) <= (ours > other)
    if "times" in words:
        assert float(words.split()[0]) >= 1
