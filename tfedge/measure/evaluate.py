"""Measures a converted model, or a checkpoint in Keras, on a file of texts or on images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfedge import files, tasks
from tfedge.data.hub import KINDS
from tfedge.data.reader import Reader, open_reader
from tfedge.data.texts import AS_FOUND, Texts
from tfedge.data.unknown import unknown_share
from tfedge.errors import InputError, board_errors
from tfedge.measure.board import Board
from tfedge.measure.mistakes import write_mistakes
from tfedge.models.folder import transformer_folder
from tfedge.models.stored import Checkpoint
from tfedge.progress import MakeBar
from tfedge.quiet import load_tensorflow
from tfedge.records import FLAT
from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.tasks.base import Answer
from tfedge.runtime.wanted import Wanted
from tfedge.tasks import scope
from tfedge.tasks.base import Rows, Task, Truth, disagreement
from tfedge.tasks.columns import ColumnNames

_DETAILED = "text-classification"
# By what an encoder reads.
_EMBEDDERS = {"texts": "sentence-embedding", "images": "image-feature-extraction"}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How well a model answers."""

    model: str
    task: str
    runtime: str
    data: str
    texts: int
    unanswered: int
    unknown_share: float | None  # of the tokens of texts, 0..1; None of images
    # Where the truth is known, what the task's `metric` gives.
    figures: Mapping[str, Any] = dataclasses.field(metadata=FLAT)
    against: str | None = None  # a second model, and the `disagreement` with it
    disagreement: float | None = None
    comparison: Mapping[str, float] | None = None  # what the task tells of the two besides


@dataclasses.dataclass(frozen=True)
class Details:
    """What is told besides of a model that chooses one label."""

    out_of_scope: str | None = None  # the label of what none of the others fits
    mistakes: Path | None = None  # a CSV to write, see `tfedge.measure.mistakes`

    def check(self, task: Task, labels: Sequence[str], truth: Truth | None) -> None:
        """Raises InputError where it cannot be told."""
        given = {"--out-of-scope": self.out_of_scope, "--mistakes": self.mistakes}
        asked = [name for name, value in given.items() if value is not None]
        if asked and (task.name != _DETAILED or truth is None):
            raise InputError(f"{asked[0]} is told of {_DETAILED} on rows with labels; leave it out")
        if self.out_of_scope is not None:
            scope.place(self.out_of_scope, labels)
        if self.mistakes is not None:
            if self.mistakes.is_dir():
                raise InputError(f"--mistakes {self.mistakes} is a folder; give a file to write")
            files.check_folder(self.mistakes.parent)

    def keeps(self, *inputs: str | Path | None) -> None:
        """Raises InputError where what is written would take the place of an input."""
        for path in inputs:
            both = [Path(one) for one in (self.mistakes, path) if one is not None]
            if len(both) == 2 and all(one.exists() for one in both) and both[0].samefile(both[1]):
                raise InputError(f"--mistakes {self.mistakes} is an input; give another file")


def read_items(model: Path, data: str, split: str, columns: ColumnNames = AS_FOUND) -> Texts:
    """What a model can be asked: texts, pairs of them, or images where it reads those.

    Raises InputError where model or data cannot be used.

    Args:
        model: a .tflite, or a checkpoint's folder.
        data: as `tfedge.data.hub.read_data` takes it, or a folder or table of images.
        split: of a data set on the hub that names none.
        columns: those that the user names.
    """
    task = about(model)[0]
    return task.texts(KINDS[task.units](data, split, columns))


def read_rows(model: Path, data: str, split: str, columns: ColumnNames = AS_FOUND) -> Rows:
    """The same with what the model's task measures answers by; see `read_items`."""
    task = about(model)[0]
    given = KINDS[task.units](data, split, columns)
    rows = task.read(given)
    if rows.truth is None and task.input.has_tokenizer:
        rows = dataclasses.replace(rows, columns=tuple(sorted(given.table[0])))
    return rows


def evaluate(
    model: Path,
    against: Path | None,
    rows: Rows,
    board: Board,
    make_bar: MakeBar,
    details: Details | None = None,
) -> Evaluation:
    """Asks `model` all rows and compares with the truth and with another model.

    Args:
        model: a .tflite, run by `board`, or a checkpoint's folder, run by Keras in this process.
        against: a second model of either kind.
        details: what is told besides, of classifiers.

    Raises:
        InputError: a model or the labels cannot be used.
        RejectedModelError: a model crashed.
    """
    task, labels, runtimes = about(model)
    truth = task.truth(rows, labels)
    if against is not None:
        if (other := about(against, task.is_embedding)[0]) is not task:
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
    details = details or Details()
    details.check(task, labels, truth)
    answers = answers_of(model, task, rows, board, make_bar)
    others = None if against is None else answers_of(against, task, rows, board, make_bar)
    compared: dict[str, Any] = {}
    with board.believed():
        if others is not None:
            compared["disagreement"] = disagreement(task, answers, others)
            compared["comparison"] = task.comparison(answers, others, truth, labels) or None
        figures = {} if truth is None else task.metric(answers, truth, labels)
        if details.mistakes is not None and truth is not None:
            figures["mistakes"] = write_mistakes(details.mistakes, rows, answers, truth, labels)
    if details.out_of_scope is not None:
        place = scope.place(details.out_of_scope, labels)
        figures |= scope.figures(figures["confusion"], place)
    return Evaluation(
        model=str(model),
        task=task.name,
        runtime=runtimes[0] if model.is_dir() else board.chosen(runtimes),
        data=rows.source,
        texts=len(rows.items),
        unanswered=sum("error" in answer for answer in answers),
        unknown_share=share_of_unknown(model, task, rows, answers),
        figures=figures,
        against=None if against is None else str(against),
        **compared,
    )


def about(model: Path, like_embedder: bool = False) -> tuple[Task, list[str], Sequence[str]]:
    """What a model answers, with which labels, and in which runtimes.

    A checkpoint whose task would be guessed is for embeddings where it is compared with such a model,
    `like_embedder`, which may have been made of it.
    """
    if model.is_dir():
        checkpoint = Checkpoint(transformer_folder(model))
        given = _EMBEDDERS[checkpoint.config.architecture.reads] if like_embedder else None
        name, labels = tasks.task_and_labels(checkpoint, given)
        return tasks.find(name), labels, ["keras"]
    with board_errors():
        manifest = read_bundle(model).manifest
    return tasks.find(manifest.task), list(manifest.labels or ()), manifest.runtimes


def share_of_unknown(
    model: Path, task: Task, rows: Rows, answers: Sequence[Answer]
) -> float | None:
    """Of the tokens that a model reads of rows, 0..1; None of images. Rows without an answer are none:
    they may be refused for their length alone, before they are taken apart."""
    pairs = zip(rows.items, answers, strict=True)
    items = [item for item, answer in pairs if "error" not in answer]
    if model.is_dir():
        reader, most = _reader(model, task)
        return unknown_share(task.input, reader.encoding(), most, items)
    bundle = read_bundle(model)
    encoding = {"tokenizer_json": bundle.tokenizer_json, "image": None}
    return unknown_share(task.input, encoding, bundle.manifest.max_length, items)


def _reader(model: Path, task: Task) -> tuple[Reader, int]:
    """What a checkpoint's folder is read with, and how many tokens its encoder takes."""
    folder = transformer_folder(model)
    config = Checkpoint(folder).config
    return open_reader(folder, config, task), config.architecture.lengths(config)[1]


def answers_of(
    model: Path, task: Task, rows: Rows, board: Board, make_bar: MakeBar
) -> list[Answer]:
    """What a model answers to each item, a .tflite on `board`, a folder in Keras."""
    if model.is_dir():
        _reader(model, task)  # is refused, if it must be, before TensorFlow takes seconds to load
        load_tensorflow()
    with make_bar(f"running {model.name}", len(rows.items)) as bar:
        if not model.is_dir():
            return board.answers(model, rows.items, bar.advance, rows.asked)
        from tfedge.measure.checkpoint import checkpoint_answers

        wanted = Wanted(**rows.asked)
        return checkpoint_answers(model, rows.items, bar.advance, task=task.name, wanted=wanted)
