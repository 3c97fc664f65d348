"""A task that no module of tfedge knows: two numbers for a text, how good and how long it seems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tfedge import tasks
from tfedge.runtime.tasks.base import Answer
from tfedge.runtime.wanted import WHOLE, Wanted
from tfedge.tasks import columns
from tfedge.tasks.base import Outputs, Rows, Task

NAMES = ("goodness", "length")


class Rating(Task):
    """`goodness` and `length`, (B,) each, from the first token."""

    name = "rating"
    outputs: ClassVar = {"goodness": (1,), "length": (1,)}
    kind = "ForRating"
    wanted = "the columns text and rating"
    score = "closeness"

    def answer(
        self,
        outputs: Mapping[str, np.ndarray],
        encoded: object,
        item: Any,
        labels: Sequence[str],
        wanted: Wanted = WHOLE,
    ) -> Answer:
        return {name: float(outputs[name][0]) for name in NAMES}

    def line(self, answer: Mapping[str, Any]) -> str:
        return "\t".join(f"{answer[name]:.3f}" for name in NAMES)

    def modules(self, config: Any) -> tuple[str, ...]:
        return ("rating_head",)

    def reads_first_token_only(self, config: Any) -> bool:
        return True

    def head(
        self, blocks: Any, hidden: Any, inputs: dict[str, Any], num_labels: int
    ) -> dict[str, Any]:
        first = blocks.token(hidden)
        both = blocks.per_text(blocks.dense("rating_head", 2, first))
        return {name: blocks.channel(name, index, both) for index, name in enumerate(NAMES)}

    def output_losses(self, output: Outputs, target: Outputs, mask: Any, temperature: float) -> Any:
        return self.differences(output, target, mask) ** 2

    def differences(self, output: Outputs, target: Outputs, mask: Any) -> Any:
        import tensorflow as tf

        apart = [tf.abs(output[name] - target[name]) for name in NAMES]
        return tf.minimum(tf.maximum(*apart), 1.0)

    def read(self, data: Any) -> Rows:
        rows = data.table
        return Rows(
            columns.texts(rows, "text", data.name), [row["rating"] for row in rows], data.name
        )

    def metric(
        self, answers: Sequence[Answer], truth: Sequence[Any], labels: Sequence[str]
    ) -> dict[str, Any]:
        apart = [
            abs(answer["goodness"] - true) for answer, true in zip(answers, truth, strict=True)
        ]
        return {"closeness": 1 - float(np.mean(np.minimum(apart, 1)))}

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        return [f"closeness {figures['closeness']:.2f}"]

    def difference(self, answer: Answer, other: Answer) -> float:
        return min(1.0, max(abs(answer[name] - other[name]) for name in NAMES))


tasks.register(Rating())
