"""Measures a converted model, or a checkpoint in Keras, on a file of texts or on images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfedge import tasks
from tfedge.data.hub import KINDS
from tfedge.data.texts import AS_FOUND, Texts
from tfedge.errors import InputError, board_errors
from tfedge.measure.board import Board
from tfedge.progress import MakeBar
from tfedge.records import FLAT
from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.tasks.base import Answer
from tfedge.runtime.wanted import Wanted
from tfedge.tasks.base import Rows, Task, disagreement
from tfedge.tasks.columns import ColumnNames


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How well a model answers."""

    model: str
    task: str
    runtime: str
    data: str
    texts: int
    unanswered: int
    # Where the truth is known, what the task's `metric` gives.
    figures: Mapping[str, Any] = dataclasses.field(metadata=FLAT)
    against: str | None = None  # a second model, and the `disagreement` with it
    disagreement: float | None = None
    comparison: Mapping[str, float] | None = None  # what the task tells of the two besides


def read_items(model: Path, data: str, split: str, columns: ColumnNames = AS_FOUND) -> Texts:
    """What a model can be asked: texts, pairs of them, or images where it reads those.

    Raises InputError where model or data cannot be used.

    Args:
        model: a .tflite, or a checkpoint's folder.
        data: as `tfedge.data.hub.read_data` takes it, or a folder or table of images.
        split: of a data set on the hub that names none.
        columns: those that the user names.
    """
    task = _about(model)[0]
    return task.texts(KINDS[task.units](data, split, columns))


def read_rows(model: Path, data: str, split: str, columns: ColumnNames = AS_FOUND) -> Rows:
    """The same with what the model's task measures answers by; see `read_items`."""
    task = _about(model)[0]
    given = KINDS[task.units](data, split, columns)
    rows = task.read(given)
    if rows.truth is None and task.input.has_tokenizer:
        rows = dataclasses.replace(rows, columns=tuple(sorted(given.table[0])))
    return rows


def evaluate(
    model: Path, against: Path | None, rows: Rows, board: Board, make_bar: MakeBar
) -> Evaluation:
    """Asks `model` all rows and compares with the truth and with another model.

    Args:
        model: a .tflite, run by `board`, or a checkpoint's folder, run by Keras in this process.
        against: a second model of either kind.

    Raises:
        InputError: a model or the labels cannot be used.
        RejectedModelError: a model crashed.
    """
    task, labels, runtimes = _about(model)
    truth = task.truth(rows, labels)
    if against is not None:
        if (other := _about(against, task)[0]) is not task:
            raise InputError(
                f"{model} answers {task.name} and {against} {other.name}; give two of one task"
            )
    elif truth is None:
        has = "no labels"
        if len(rows.columns) > 1:
            has = f"the columns {', '.join(rows.columns)}, but not what {task.name} is measured by"
        raise InputError(
            f"nothing to measure: {rows.source} has {has}; give {task.wanted}, or a second model "
            "with --against"
        )
    answers = _answers(model, task, rows, board, make_bar)
    others = None if against is None else _answers(against, task, rows, board, make_bar)
    compared: dict[str, Any] = {}
    if others is not None:
        compared["disagreement"] = disagreement(task, answers, others)
        compared["comparison"] = task.comparison(answers, others, truth, labels) or None
    return Evaluation(
        model=str(model),
        task=task.name,
        runtime=runtimes[0] if model.is_dir() else board.chosen(runtimes),
        data=rows.source,
        texts=len(rows.items),
        unanswered=sum("error" in answer for answer in answers),
        figures={} if truth is None else task.metric(answers, truth, labels),
        against=None if against is None else str(against),
        **compared,
    )


def _about(model: Path, like: Task | None = None) -> tuple[Task, list[str], Sequence[str]]:
    """What a model answers, with which labels, and in which runtimes.

    A checkpoint whose task would be guessed is for embeddings where it is compared with such a model,
    `like`, which may have been made of it.
    """
    if model.is_dir():
        from tfedge.models.folder import transformer_folder
        from tfedge.models.stored import Checkpoint

        given = like.name if like is not None and like.is_embedding else None
        name, labels = tasks.task_and_labels(Checkpoint(transformer_folder(model)), given)
        return tasks.find(name), labels, ["keras"]
    with board_errors():
        manifest = read_bundle(model).manifest
    return tasks.find(manifest.task), list(manifest.labels or ()), manifest.runtimes


def _answers(model: Path, task: Task, rows: Rows, board: Board, make_bar: MakeBar) -> list[Answer]:
    with make_bar(f"running {model.name}", len(rows.items)) as bar:
        if not model.is_dir():
            return board.answers(model, rows.items, bar.advance, rows.asked)
        from tfedge.measure.checkpoint import checkpoint_answers

        wanted = Wanted(**rows.asked)
        return checkpoint_answers(model, rows.items, bar.advance, task=task.name, wanted=wanted)
