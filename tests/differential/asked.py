"""Asks a loaded model of tfedge what `transformers_answers.py` asks transformers, in the same form.

    python tests/differential/asked.py RUNTIME FOLDER...

does so with the one .tflite in each folder and writes `RUNTIME.json` into it: a process without
TensorFlow, as a board has.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.runtime import Pipeline, TextError, load
from tfedge.runtime.entities import STRATEGIES

# As in `transformers_answers.py`, which no process can import that has no torch.
ZERO_SHOT: dict[str, dict[str, Any]] = {
    "one": {},
    "several": {"multi_label": True},
    "template": {"hypothesis_template": "It says {}, doesn't it?"},
}


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
    if task == "zero-shot-classification":
        text, candidates = item
        asked = {way: {"candidate_labels": candidates, **more} for way, more in ZERO_SHOT.items()}
        return {way: [*pipeline(text, **more)["scores"].items()] for way, more in asked.items()}
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


class _Remembering:
    """A model that is run once for what is asked in several ways."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._outputs: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def run(self, key: str, inputs: dict[str, np.ndarray]) -> Any:
        known = (key, *(array.tobytes() for array in inputs.values()))
        if known not in self._outputs:
            found = self._model.run(key, inputs)
            self._outputs[known] = {name: value.copy() for name, value in found.items()}
        return dict(self._outputs[known])


def main(runtime: str, folders: list[Path]) -> None:
    for folder in folders:
        (model,) = folder.glob("*.tflite")
        job = json.loads((folder / "job.json").read_text("utf-8"))
        with load(model, runtime=runtime, num_threads=1) as pipeline:
            pipeline._model = _Remembering(pipeline._model)  # type: ignore[assignment]
            found = answers(pipeline, job)
        (folder / f"{runtime}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], [Path(argument) for argument in sys.argv[2:]])
