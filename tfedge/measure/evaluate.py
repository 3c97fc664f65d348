"""Measures a converted model, or a checkpoint in Keras, on a file of texts or on images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfedge.data.hub import read_data
from tfedge.data.images import read_images
from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure.accuracy import Answer, accuracy, disagreement
from tfedge.measure.board import Board
from tfedge.progress import MakeBar
from tfedge.runtime import tasks
from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.errors import ModelFileError
from tfedge.runtime.inputs import IMAGE, PAIR


def read_items(model: Path, data: str, split: str) -> Texts:
    """What a model can be asked: texts, or images where it reads those.

    Args:
        model: a .tflite, or a checkpoint's folder.
        data: as `tfedge.data.hub.read_data` takes it, or a folder or table of images.
        split: of a data set on the hub that names none.

    Raises:
        InputError: model or data cannot be used.
    """
    return (
        read_images(data) if tasks.find(_task(model)[0]).input is IMAGE else read_data(data, split)
    )


def evaluate(
    model: Path, against: Path | None, texts: Texts, board: Board, make_bar: MakeBar
) -> dict[str, Any]:
    """Answers all texts or images with `model` and compares with the labels and with another model.

    Args:
        model: a .tflite, run by `board`, or a checkpoint's folder, run by Keras in this process.
        against: a second model of either kind.

    Returns:
        A JSON object: `model`, `texts`, `runtime`; for labelled texts `accuracy`, `macro_f1`,
        `confusion`, `labels`; with `against`, `disagreement`.

    Raises:
        InputError: a model or the labels cannot be used.
        RejectedModelError: a model crashed.
    """
    task, labels = _task(model)
    if tasks.find(task).input is PAIR:
        raise InputError(
            f"{task} needs a context with each question; {texts.source} has texts alone"
        )
    truth = None
    if tasks.find(task).ranked and texts.labels is not None:
        truth = texts.label_ids(labels)
    if against is not None:
        if (other := _task(against)[0]) != task:
            raise InputError(f"{model} answers {task} and {against} {other}; give two of one task")
    elif truth is None:
        raise InputError(
            f"nothing to measure: {task} on {texts.source} has no labels to compare with; "
            "give a second model with --against"
        )
    answers = _answers(model, texts.texts, board, make_bar)
    result: dict[str, Any] = {
        "model": str(model),
        "task": task,
        "runtime": _runtime(model, board),
        "data": texts.source,
        "texts": len(texts),
        "unanswered": sum("error" in answer for answer in answers),
    }
    if truth is not None:
        result |= dataclasses.asdict(accuracy(answers, truth, labels))
    if against is not None:
        others = _answers(against, texts.texts, board, make_bar)
        result |= {"against": str(against), "disagreement": disagreement(answers, others)}
    return result


def _task(model: Path) -> tuple[str, list[str]]:
    if model.is_dir():
        from tfedge.measure.checkpoint import CheckpointAnswers

        return CheckpointAnswers.task_of(model)
    try:
        manifest = read_bundle(model).manifest
    except ModelFileError as error:
        raise InputError(str(error)) from error
    return manifest.task, list(manifest.labels or ())


def _runtime(model: Path, board: Board) -> str:
    if model.is_dir():
        return "keras"
    return board.runtime or read_bundle(model).manifest.runtimes[0]


def _answers(model: Path, texts: Sequence[str], board: Board, make_bar: MakeBar) -> list[Answer]:
    with make_bar(f"running {model.name}", len(texts)) as bar:
        if not model.is_dir():
            return board.answers(model, texts, bar.advance)
        from tfedge.measure.checkpoint import CheckpointAnswers

        return CheckpointAnswers(model).answers(texts, bar.advance)
