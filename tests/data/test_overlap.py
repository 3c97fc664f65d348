"""What is told of the texts of a training: those measured on too, and those with two labels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tfedge.data.overlap import held_apart, tell_contradictions, tell_overlap
from tfedge.tasks.base import Rows


def rows(texts: list[str], labels: list[str] | None = None, source: str = "train.tsv") -> Rows:
    return Rows(texts, labels, source)


def test_texts_of_both_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    train = rows(["a film", "A  Good film", "bad"])
    tell_overlap(train, rows(["good", "a good FILM", "bad "], source="dev.tsv"))
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        "2 of the 3 rows of dev.tsv are in train.tsv too, the first as row 2 ('A Good film')"
        in line
    )
    tell_overlap(train, rows(["good"]))
    pair = Rows([("a", "b")], None, "pairs")
    tell_overlap(pair, Rows([("b", "a")], None, "pairs"))
    assert capsys.readouterr().err == ""


def test_texts_with_two_labels_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    tell_contradictions(rows(["a", "b", "A", "b", "a"], ["x", "y", "y", "y", "x"]))
    (line,) = capsys.readouterr().err.splitlines()
    assert "1 rows of train.tsv" in line and "row 3 that of row 1 ('A')" in line


def test_rows_of_several_texts_are_compared_whole(capsys: pytest.CaptureFixture[str]) -> None:
    train = Rows(["a", "b", "c", "d"], None, "train.tsv", items_a_row=2)
    tell_overlap(train, Rows(["b", "c"], None, "dev.tsv", items_a_row=2))
    assert capsys.readouterr().err == ""
    tell_overlap(train, Rows(["c", "d"], None, "dev.tsv", items_a_row=2))
    assert "the first as row 2 ('c')" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(8))
def test_what_is_held_apart_is_never_trained_on(seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(100, 300))
    texts = [f"text {number}" for number in generator.integers(0, 150, count)]
    labels = [f"label {number}" for number in generator.integers(0, 5, count)]
    train, held_out = held_apart(rows(texts, labels))
    assert held_out is not None and train.truth is not None and held_out.truth is not None
    assert not set(train.items) & set(held_out.items)
    both = [*zip(train.items, train.truth, strict=True)]
    both += zip(held_out.items, held_out.truth, strict=True)
    assert Counter(both) == Counter(zip(texts, labels, strict=True))


def test_each_label_has_its_share() -> None:
    labels = ["rare"] * 20 + ["usual"] * 180
    train, held_out = held_apart(rows([f"text {number}" for number in range(200)], labels))
    assert held_out is not None
    assert Counter(held_out.truth or ()) == {"rare": 2, "usual": 18}
    assert len(train) == 180


def test_where_all_texts_are_one_none_is_spared() -> None:
    same = rows(["a"] * 200, ["x"] * 200)
    assert held_apart(same) == (same, None)


def test_of_few_rows_none_is_spared() -> None:
    few = rows(["a"] * 99, ["x"] * 99)
    assert held_apart(few) == (few, None)
