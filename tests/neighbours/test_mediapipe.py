"""MediaPipe's TextClassifier and TextEmbedder run our files as they are, and answer as we do.

`make test-mediapipe` runs this, with the Python of .venv-mediapipe in TFEDGE_MEDIAPIPE_PYTHON and
the shipped model, converted with --target mediapipe, in TFEDGE_MODEL.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfedge.data.texts import package_texts
from tfedge.measure.board import Board

pytestmark = pytest.mark.mediapipe

SCRIPT = Path(__file__).with_name("mediapipe_answers.py")
# ASCII: MediaPipe keeps accents, which BERT's own tokeniser takes away.
TEXTS = [
    "good",
    "awful film",
    "The FILM is good, was it dull?",
    "xyz good zyx",
    "a film " * 20,
    "it's well-done: $5 (or 6) for a great film!",
]


def mediapipe(*jobs: tuple[Path, str, list[str]]) -> list[Any]:
    """The answers to all texts of each job."""
    python = os.environ["TFEDGE_MEDIAPIPE_PYTHON"]
    lines = "".join(
        json.dumps({"model": str(model), "task": task, "texts": texts}) + "\n"
        for model, task, texts in jobs
    )
    command = [python, str(SCRIPT)]
    result = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def assert_same_classes(theirs: list[dict[str, float]], model: Path, texts: list[str]) -> None:
    """The same label for each text; MediaPipe's scores are logits, ours their softmax."""
    ours = Board(runtime="litert", threads=1).answers(model, texts)
    assert len(theirs) == len(ours) == len(texts)
    for there, here in zip(theirs, ours, strict=True):
        assert set(there) == set(here["scores"])
        assert max(there, key=lambda label: there[label]) == here["label"], here["text"]
        logits = np.array(list(there.values()))
        scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        expected = [here["scores"][label] for label in there]
        np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_toys(toys: Path) -> None:
    classes, embeddings, several_graphs, integers = mediapipe(
        (toys / "classifier.tflite", "text-classification", TEXTS),
        (toys / "embedder.tflite", "sentence-embedding", TEXTS),
        (toys / "buckets.tflite", "text-classification", TEXTS),
        (toys / "int8_output.tflite", "text-classification", TEXTS),
    )
    assert_same_classes(classes, toys / "classifier.tflite", TEXTS)
    ours = Board(runtime="litert", threads=1).answers(toys / "embedder.tflite", TEXTS)
    expected = [answer["embedding"] for answer in ours]
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)
    # What `--target mediapipe` is for: should these pass one day, int8 and buckets can be its.
    assert "single subgraph" in several_graphs
    assert "UINT8 or FLOAT32" in integers


def test_the_shipped_model() -> None:
    model = Path(os.environ["TFEDGE_MODEL"])
    texts = [text for text in package_texts().texts if text.isascii()][:50]
    (classes,) = mediapipe((model, "text-classification", texts))
    assert_same_classes(classes, model, texts)
