"""What MediaPipe answers: `python mediapipe_answers.py < jobs.jsonl`, where it is installed.

A line of the input is {"model": path, "task": ..., "texts": [...]}; a line of the output is a list
with {label: score} or the embedding of each text, or a string: why the model was refused.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from mediapipe.tasks.python import text
from mediapipe.tasks.python.core.base_options import BaseOptions


def classify(model: str, texts: list[str]) -> list[dict[str, float]]:
    """{label: score} of each text."""
    options = text.TextClassifierOptions(base_options=BaseOptions(model_asset_path=model))
    with text.TextClassifier.create_from_options(options) as classifier:
        answers = [classifier.classify(item).classifications[0].categories for item in texts]
    return [{item.category_name: item.score for item in answer} for answer in answers]


def embed(model: str, texts: list[str]) -> list[list[float]]:
    """The embedding of each text."""
    options = text.TextEmbedderOptions(base_options=BaseOptions(model_asset_path=model))
    with text.TextEmbedder.create_from_options(options) as embedder:
        answers = [embedder.embed(item).embeddings[0].embedding for item in texts]
    return [[float(value) for value in answer] for answer in answers]


def answer(model: str, task: str, texts: list[str]) -> Any:
    """What the task of MediaPipe says, or why it does not."""
    try:
        return (classify if task == "text-classification" else embed)(model, texts)
    except (ValueError, RuntimeError) as error:
        return str(error)


for line in sys.stdin:
    print(json.dumps(answer(**json.loads(line))), flush=True)
