"""Comparing toys with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bars import Bars
from program import INSTALLED

from tfedge import __version__
from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure.race import BenchOptions, bench
from tfedge.records import as_json

TEXTS = Texts(["a good film", "awful", "dull", "\0"], ["1", "0", "1", "0"], "toy.tsv")


def options(**changes: Any) -> BenchOptions:
    settings: dict[str, Any] = {
        "runtimes": (),
        "threads": (1,),
        "rounds": 2,
    }
    return BenchOptions(**{**settings, **changes})


def run(*models: Path | str, texts: Texts = TEXTS, **changes: Any) -> dict[str, Any]:
    found = bench([str(model) for model in models], texts, options(**changes), Bars())
    content: dict[str, Any] = as_json(found)
    return content


def test_toys(toys: Path) -> None:
    names = [str(toys / name) for name in ("buckets.tflite@16", "buckets.tflite", "int8.tflite")]
    result = run(*names, runtimes=("litert",))
    rows = result["contestants"]
    assert [row["name"] for row in rows] == names
    assert [row["accuracy"] for row in rows] == [2 / 4] * 3
    assert [row["unanswered"] for row in rows] == [1] * 3
    assert [row["disagreement"] for row in rows] == [0] * 3
    assert [row["size_bytes"] for row in rows[:2]] == [(toys / "buckets.tflite").stat().st_size] * 2
    for row in rows:
        assert row["runtime"].startswith("litert ")
        assert 0 < row["mean_ms"] < 1000
        assert row["mean_ms"] / rows[0]["mean_ms"] == pytest.approx(row["ratios"]["mean"])
        assert row["ratio_range"][0] <= row["ratio_range"][1]
        assert 0 < row["tokenize_ms"] < 1000
    assert "variants" not in result
    assert (result["format"], result["tfedge"]) == (1, __version__)
    assert [(row["kind"], row["lengths"]) for row in rows] == [
        ("tfedge", [16]),
        ("tfedge", [8, 16]),
        ("tfedge", [16]),
    ]
    assert [row["mode"] for row in rows] == ["float32", "float32", "int8"]
    assert result["float"] == names[0]
    assert [row["float_disagreement"] for row in rows] == [0] * 3


def test_every_runtime_and_number_of_threads(toys: Path) -> None:
    settings = {"runtimes": INSTALLED[::-1], "threads": (1, 2)}
    rows = run(toys / "classifier.tflite", **settings, rounds=1)["contestants"]
    assert [(row["runtime"].split()[0], row["threads"]) for row in rows] == [
        (runtime, threads) for runtime in INSTALLED[::-1] for threads in (1, 2)
    ]


def test_embeddings_have_no_accuracy(toys: Path) -> None:
    (row,) = run(toys / "embedder.tflite")["contestants"]
    assert "accuracy" not in row
    assert row["disagreement"] == pytest.approx(0, abs=1e-9)


def test_models_that_cannot_be_compared(toys: Path) -> None:
    classifier = toys / "classifier.tflite"
    with pytest.raises(
        InputError, match=r"has the task text-class.* and .* sentence-embedding; give"
    ):
        run(classifier, toys / "embedder.tflite")
    with pytest.raises(InputError, match="has labels"):
        run(classifier, texts=Texts(["a"], ["5 stars"], "stars.tsv"))


def test_questions_and_contexts(toys: Path) -> None:
    texts = Texts([("who was born ?", "ada was born .")], None, "x", ("question", "context"))
    (row,) = run(toys / "reader.tflite", texts=texts)["contestants"]
    assert row["unanswered"] == row["disagreement"] == 0


def test_pairs(toys: Path) -> None:
    """Both texts are asked; of a model of one text they are refused."""
    items = [("good", "film"), ("bad", "a film"), ("good", "awful awful")]
    texts = Texts(items, ["1", "0", "0"], "pairs.tsv", ("text", "text_pair"))
    result = run(toys / "classifier.tflite", texts=texts)
    (row,) = result["contestants"]
    assert (row["accuracy"], row["unanswered"], result["texts"]) == (1, 0, 3)
    with pytest.raises(InputError, match="'text' and 'text_pair', but a model for token-class"):
        run(toys / "tagger.tflite", texts=texts)
