"""The package's own sentences, which calibrate and evaluate where the user brings none."""

from __future__ import annotations

from collections import Counter
from importlib import resources

import pytest

from tfedge.data.texts import Texts, read_texts


@pytest.fixture(scope="module")
def sentences() -> Texts:
    with resources.as_file(resources.files("tfedge.data") / "sentences.tsv") as path:
        return read_texts(path)


def test_counts(sentences: Texts) -> None:
    assert len(sentences) == 480
    assert Counter(sentences.labels) == {"negative": 240, "positive": 240}


def test_no_sentence_twice(sentences: Texts) -> None:
    plain = ["".join(filter(str.isalnum, text.lower())) for text in sentences.texts]
    assert [text for text, count in Counter(plain).items() if count > 1] == []


def test_any_part_has_both_labels(sentences: Texts) -> None:
    """The first 200 choose ranges and the rest evaluates, so both need a mixture."""
    for part in (sentences.head(200), sentences.tail(280)):
        share = Counter(part.labels)["positive"] / len(part)
        assert 0.4 < share < 0.6


def test_lengths_vary(sentences: Texts) -> None:
    words = sorted(len(text.split()) for text in sentences.texts)
    assert words[0] <= 5
    assert words[-1] >= 30
    assert 10 <= words[len(words) // 2] <= 25


def test_format() -> None:
    content = (resources.files("tfedge.data") / "sentences.tsv").read_bytes()
    assert content.startswith(b"text\tlabel\n")
    assert content.endswith(b"\n")
    assert b"\r" not in content
    for line in content.decode().split("\n")[1:-1]:
        text, label = line.split("\t")
        assert text == " ".join(text.split())
        assert label in {"negative", "positive"}
