"""The types of answers are those of the answers, and every task has one."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfedge.runtime import Pipeline, tasks
from tfedge.runtime.answers import ANSWERS, Classified

Load = Callable[[str], Pipeline]


def check(value: Any, kind: Any) -> None:
    """Asserts that a value is of a type, of a TypedDict with all of its keys and no others."""
    if hasattr(kind, "__required_keys__"):
        hints = typing.get_type_hints(kind)
        assert kind.__required_keys__ <= value.keys() <= hints.keys()
        for name, one in value.items():
            check(one, hints[name])
    elif typing.get_origin(kind) is list:
        assert isinstance(value, list)
        for one in value:
            check(one, *typing.get_args(kind))
    elif typing.get_origin(kind) is dict:
        assert {type(one) for pair in value.items() for one in pair} == {*typing.get_args(kind)}
    else:
        assert type(value) is kind


def test_every_task_has_one() -> None:
    own = (
        name for name in tasks.names() if type(tasks.find(name)).__module__.startswith("tfedge.")
    )
    assert set(own) == set(ANSWERS)


@pytest.mark.parametrize("name", ["classifier", "embedder", "tagger", "reader", "filler"])
def test_types(load_toy: Load, name: str) -> None:
    ask = load_toy(name)
    for item in ("good [MASK]", "good [MASK] " * 40):
        kind = ANSWERS[ask.manifest.task]
        check(ask(("who ?", item) if name == "reader" else item), kind)
    if name == "classifier":
        check(ask("good", "bad"), Classified)
    if name == "tagger":
        check(ask("ada", aggregation="none"), ANSWERS["token-classification"])


WITHOUT_TOYS = (
    *("text-multi-label", "text-regression", "image-classification", "image-multi-label"),
    *("image-feature-extraction", "zero-shot-image-classification"),
)


@pytest.mark.parametrize("name", [*WITHOUT_TOYS, "text-scoring"])
def test_types_of_answers_without_a_toy(name: str) -> None:
    labels = ("a",) if name == "text-scoring" else ("a", "b")
    outputs = {"logits": np.zeros((1, len(labels)), np.float32), "embedding": np.ones((1, 3))}
    item = {"image": "a.jpg"} if "image" in name else {"text": "good"}
    check({**item, **tasks.find(name).answer(outputs, None, "good", labels)}, ANSWERS[name])
