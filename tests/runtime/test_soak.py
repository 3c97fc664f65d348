"""A long stream: an answer for each line, in order, and memory that stays as it is."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from program import ROOT, each_runtime
from soak import Soak, mixed, soak

from tfedge.data.texts import read_texts

WORDS = ("a good film", "bad", "the film was dull , and Bob was born in it .")
DATA = ROOT.parent / "shared/data"
GOOD = Soak(2000, 2000, 0, 1000, 1049, 95.0, (110.0, 90.0))


@each_runtime
def test_some_hundred_lines(toys: Path, runtime: str) -> None:
    options = ("--model", str(toys / "buckets.tflite"), "--runtime", runtime, "--threads", "1")
    result = soak(options, list(mixed(WORDS, 600)), first=200)
    # Toys answer in no time: most of a line's is that of the pipe, which `--benchmark` has not.
    assert result.failures(min_ratio=0.0) == []
    assert result.first_bytes > 10_000_000
    assert result.ratio > 0


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
    result = soak(("--model", model, "--threads", "1"), list(mixed(sentences, 100_000)))
    assert result.failures() == []
