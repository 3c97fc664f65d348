"""Labels of data as indices into a model's: names, numbers, and what could be either."""

from __future__ import annotations

import pytest

from tfedge.errors import InputError
from tfedge.tasks.columns import label_ids, label_names

STARS = ["1", "2", "3", "4", "5"]

# What a file has -> its labels, the model's, what they are, and whether a note is due.
READ: dict[str, tuple[list[str], list[str], list[int], bool]] = {
    "names": (["b", "A"], ["a", "b"], [1, 0], False),
    "blanks": ([" very  good", "bad "], ["bad", "very good "], [1, 0], False),
    "numbers": (["1", "0"], ["a", "b"], [1, 0], False),
    "numbers and names": (["1", "a"], ["a", "b"], [1, 0], False),
    "names that are numbers": (STARS, STARS, [0, 1, 2, 3, 4], False),
    "numbers of names that are numbers": (["0", "4", "1"], STARS, [0, 4, 1], False),
    "names or numbers": (["4", "1"], STARS, [3, 0], True),
    "names in another order": (["1", "0"], ["1", "0"], [0, 1], True),
    "names that are their numbers": (["1", "0"], ["0", "1", "2"], [1, 0], False),
    "some names are numbers": (["1", "0"], ["0", "other"], [1, 0], False),
}


@pytest.mark.parametrize("kind", READ)
def test_label_ids(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    words, names, expected, noted = READ[kind]
    source = f"{kind}.tsv"
    assert label_ids(words, names, source) == expected
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == noted
    for line in lines:
        assert f"the labels {sorted(words)} of {source} are read as names of the labels" in line


@pytest.mark.parametrize(
    ("words", "names", "message"),
    [
        (["0", "5"], STARS, r"labels \['0'\] that the model does not know; its labels are \['1'"),
        (["0", "6"], STARS, r"labels \['0', '6'\]"),
        (["0", "other"], ["1", "other"], r"labels \['0'\]"),
        (["x"], [f"L{i}" for i in range(1000)], r"'L18', 'L19'\] and 980 more; write these"),
        (["-1", "0"], ["a", "b"], r"labels \['-1'\]"),
        (["2"], ["a", "b"], r"labels \['2'\]"),
        (["good"], ["Good", "bad", "good "], r"the labels 'Good' and 'good ' are the same but for"),
        (["bad"], ["very good", "bad", "very  good"], r"'very good' and 'very  good' are the same"),
    ],
)
def test_refused_labels(words: list[str], names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        label_ids(words, names, "dev.tsv")
    assert "dev.tsv" in str(caught.value)


@pytest.mark.parametrize("label", ["a\x1b[31m", "a\nb", "a\tb", "caf\udce9", "\x9b2J", " "])
def test_labels_that_no_converted_model_can_have(label: str) -> None:
    """They are refused before hours of training."""
    with pytest.raises(InputError) as caught:
        label_names(["b", label], "x.tsv")
    assert str(caught.value) == (
        f"x.tsv has the label {label!r}; each must be one line without control characters: write "
        "another name"
    )


def test_names_that_data_have() -> None:
    assert label_names(["b", "a", "b"], "x.tsv") == ["a", "b"]
    # Of numbers each has its own place.
    numbers = [str(number) for number in range(12)]
    assert label_names(reversed(numbers), "x.tsv") == numbers
    with pytest.raises(InputError) as caught:
        label_names(["Good", "bad", "good "], "x.tsv")
    assert str(caught.value) == (
        "x.tsv has the labels 'Good' and 'good ', which are the same but for case and blanks; write "
        "one of them everywhere"
    )
