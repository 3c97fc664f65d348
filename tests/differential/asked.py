"""Asks a loaded model of tfedge what `transformers_answers.py` asks transformers, in the same form.

    python tests/differential/asked.py FOLDER...

does so with the one .tflite in each folder and writes `converted.json` into it: a process without
TensorFlow, as a board has.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from tfedge.runtime import Pipeline, TextError, load
from tfedge.runtime.entities import STRATEGIES


def answers(pipeline: Pipeline, job: dict[str, Any]) -> dict[str, Any]:
    """Token ids and answers of each item, {"error": why} in the place of both where there is none."""
    found: dict[str, Any] = {"ids": [], "answers": []}
    for item in job["items"]:
        asked = item if isinstance(item, str) else tuple(item)
        try:
            ids: Any = pipeline.prepare(asked).ids
            answer = _answer(pipeline, job["task"], asked)
        except TextError as error:
            ids = answer = {"error": str(error)}
        found["ids"].append(ids)
        found["answers"].append(answer)
    return found


def _answer(pipeline: Pipeline, task: str, item: Any) -> Any:
    if task == "token-classification":
        return {strategy: _entities(pipeline, item, strategy) for strategy in STRATEGIES}
    if task == "question-answering":
        both = {name: pipeline(item, no_answer=flag) for name, flag in (("some", 0), ("any", 1))}
        return {
            name: [found["answer"], found["start"], found["end"], found["score"]]
            for name, found in both.items()
        }
    answer = pipeline(item)
    return answer["embedding"] if task == "sentence-embedding" else [*answer["scores"].items()]


def _entities(pipeline: Pipeline, text: str, strategy: str) -> list[list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of words that are not marked
        answer = pipeline(text, aggregation=strategy)
    if strategy == "none":
        tokens = [token for token in answer["tokens"] if token["label"] != "O"]
        return [[one["start"], one["end"], one["label"], one["score"]] for one in tokens]
    assert all(one["text"] == text[one["start"] : one["end"]] for one in answer["entities"])
    return [[one["start"], one["end"], one["type"], one["score"]] for one in answer["entities"]]


def main(folders: list[Path]) -> None:
    for folder in folders:
        (model,) = folder.glob("*.tflite")
        job = json.loads((folder / "job.json").read_text("utf-8"))
        with load(model, num_threads=1) as pipeline:
            found = answers(pipeline, job)
        (folder / "converted.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
