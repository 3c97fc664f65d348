"""A long stream: an answer for each line, in order, and memory that stays as it is."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from hostile_lines import KINDS, Line, spread
from program import ROOT, each_runtime
from soak import FIRST, Soak, mixed, plain, soak

from tfedge.data.texts import read_texts

WORDS = ("a good film", "bad", "the film was dull , and Bob was born in it .")
ADDRESS_MB = 400
DATA = ROOT.parent / "shared/data"
GOOD = Soak(2000, 2000, 0, 1000, 1049, 95.0, (110.0, 90.0))


@each_runtime
def test_some_hundred_lines(toys: Path, runtime: str) -> None:
    options = ("--model", str(toys / "buckets.tflite"), "--runtime", runtime, "--threads", "1")
    result = soak(options, plain(list(mixed(WORDS, 600))), first=200)
    # Toys answer in no time: most of a line's is that of the pipe, which `--benchmark` has not.
    assert result.failures(min_ratio=0.0) == []
    assert result.first_bytes > 10_000_000
    assert result.ratio > 0


@each_runtime
def test_hostile_lines_among_others_in_little_memory(toys: Path, runtime: str) -> None:
    options = ("--model", str(toys / "buckets.tflite"), "--runtime", runtime, "--threads", "1")
    lines = spread(plain(list(mixed(WORDS, 2400))), every=10)
    assert len({line.sent for line in lines if line.text is None}) >= len(KINDS)
    result = soak(options, lines, first=FIRST, address_mb=ADDRESS_MB)
    assert result.failures(min_ratio=0.0) == []


def test_too_little_memory_is_told(toys: Path) -> None:
    options = ("--model", str(toys / "buckets.tflite"), "--threads", "1")
    result = soak(options, plain(["good film"] * 50), first=10, address_mb=30)
    assert result.answers == 0
    assert any("it ended with" in failure for failure in result.failures(min_ratio=0.0))


@pytest.mark.parametrize(
    ("answer", "is_right"),
    [
        (b'{"id": 7, "text": "a", "label": "x"}', True),
        (b'{"id": 7, "text": "a", "error": "no"}', False),
        (b'{"id": 8, "text": "a", "label": "x"}', False),
        (b'{"id": 7, "text": "b", "label": "x"}', False),
        (b"Traceback", False),
    ],
)
def test_what_answers_a_line(answer: bytes, is_right: bool) -> None:
    assert Line({"id": 7, "text": "a"}).is_answered_by(answer) is is_right


def test_what_counts_as_failure() -> None:
    assert GOOD.failures() == []
    spoilt = {
        "answers": (1999, "1999 answers to 2000 lines"),
        "misplaced": (3, "3 answers are not those"),
        "most_bytes": (1051, "memory grows by 5.1%"),
        "texts_per_s": (89.0, "0.89 of the benchmark's speed"),
    }
    for name, (value, message) in spoilt.items():
        (failure,) = dataclasses.replace(GOOD, **{name: value}).failures()
        assert message in failure


def test_texts_are_of_mixed_lengths() -> None:
    texts = list(mixed(WORDS, 1000))
    assert texts == list(mixed(WORDS, 1000))
    assert len({len(text) for text in texts}) > 50


@pytest.mark.slow
def test_hundred_thousand_lines() -> None:
    model = os.environ.get("TFEDGE_MODEL", str(ROOT / "saved_models/tinybert/tinybert_int8.tflite"))
    if not Path(model).is_file():
        pytest.fail(f"{model} does not exist; run make convert MODEL=tinybert, or set TFEDGE_MODEL")
    files = [DATA / "sst2/dev.tsv", DATA / "sst2/test.tsv", DATA / "trec/train.tsv"]
    present = [file for file in files if file.is_file()] or [ROOT / "tfedge/data/sentences.tsv"]
    sentences = [text for file in present for text in read_texts(file).texts]
    result = soak(("--model", model, "--threads", "1"), plain(list(mixed(sentences, 100_000))))
    assert result.failures() == []
