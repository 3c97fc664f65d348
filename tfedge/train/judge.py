"""Measures a model in training on held-out texts, as `tfedge eval` measures what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tf_keras as keras

from tfedge.data.batches import padded_length
from tfedge.models.build import traced
from tfedge.models.layers import PositionEmbedding
from tfedge.runtime.errors import TextError
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.runtime.tokenizer import Encoded, TextEncoder, pad
from tfedge.runtime.wanted import Wanted
from tfedge.tasks.base import Figures, Rows, Task

_ITEMS_AT_ONCE, _WINDOWS_AT_ONCE = 512, 32


def judge(
    model: keras.Model, rows: Rows, encoder: TextEncoder, task: Task, labels: Labels
) -> Callable[[], Figures]:
    """A function that gives what `task.metric` says of the answers that `model` gives by now.

    They are made as a board makes them of the same outputs. Raises InputError where rows have no truth,
    or one that no model with such labels could answer.
    """
    truth = task.truth(task.with_truth(rows), labels)
    assert truth is not None  # or it had been refused
    answer = _answering(model, encoder, task, labels, Wanted(**rows.asked))
    return lambda: task.metric(
        [
            found
            for start in range(0, len(rows.items), _ITEMS_AT_ONCE)
            for found in answer(rows.items[start : start + _ITEMS_AT_ONCE])
        ],
        truth,
        labels,
    )


def _answering(
    model: keras.Model, encoder: TextEncoder, task: Task, labels: Labels, wanted: Wanted
) -> Callable[[Sequence[Any]], list[Answer]]:
    """What answers some items, of which it knows no more than a few at once."""
    run = traced(lambda batch: model(batch, training=False), model.input)
    tables = (layer for layer in model.layers if isinstance(layer, PositionEmbedding))
    limit, names = next(tables).max_positions, model.input_names

    def outputs(windows: Sequence[Encoded]) -> list[dict[str, np.ndarray]]:
        """Those of each window, of tokens as many as it has or more."""
        found: list[dict[str, np.ndarray]] = [{}] * len(windows)
        order = np.argsort([len(window) for window in windows], kind="stable")
        for start in range(0, len(order), _WINDOWS_AT_ONCE):
            chosen = order[start : start + _WINDOWS_AT_ONCE]
            length = padded_length([len(windows[index]) for index in chosen], limit=limit)
            samples = [np.array([windows[i].ids, windows[i].type_ids], np.int32).T for i in chosen]
            batch = pad(samples, length, encoder.pad_id)
            values = {k: v.numpy() for k, v in run({name: batch[name] for name in names}).items()}
            for row, index in enumerate(chosen):
                found[index] = {name: value[row : row + 1] for name, value in values.items()}
        return found

    def answer(items: Sequence[Any]) -> list[Answer]:
        encoded = [_encoded(encoder, item) for item in items]
        windows = [window for one in encoded if one for window in one.windows]
        made = iter(outputs(windows))
        answers: list[Answer] = []
        for item, one in zip(items, encoded, strict=True):
            if one is None:
                answers.append({"error": "cannot be read"})
                continue
            joined = _joined([next(made) for _ in one.windows])
            answers.append(task.answer(joined, one, item, labels, wanted))
        return answers

    return answer


def _encoded(encoder: TextEncoder, item: Any) -> Encoded | None:
    try:
        return encoder.encode(*(item if isinstance(item, tuple) else (item,)))
    except TextError:
        return None


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The outputs of an item's windows as rows; those of tokens as long as the longest."""
    if len(parts) == 1:
        return dict(parts[0])
    joined = {}
    for name in parts[0]:
        rows = [part[name] for part in parts]
        longest = max(row.shape[1] for row in rows)
        joined[name] = np.concatenate(
            [
                np.pad(row, [(0, 0), (0, longest - row.shape[1]), *[(0, 0)] * (row.ndim - 2)])
                for row in rows
            ]
        )
    return joined
