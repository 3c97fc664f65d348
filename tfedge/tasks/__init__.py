"""What the host knows of a task besides the board: a module a task, found by walking this folder.

A module defines a class that inherits `tfedge.tasks.base.Task` and the board's class of the task, and
`TASK`, one of it. Nothing here imports TensorFlow before it computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfedge.errors import CheckpointError, InputError
from tfedge.runtime import tasks as board
from tfedge.runtime.bundle import is_label
from tfedge.runtime.registry import Registry
from tfedge.tasks import heads
from tfedge.tasks.base import Task

if TYPE_CHECKING:
    from tfedge.models.checkpoint import Checkpoint

_REGISTRY: Registry[Task] = Registry(__name__, __path__)

names = _REGISTRY.names


def find(name: str) -> Task:
    """The task of a name; raises InputError where there is none."""
    task = _REGISTRY.find(name)
    if task is None:
        raise InputError(f"unknown task {name!r}; known are {', '.join(names())}")
    return task


def every() -> Iterator[Task]:
    """All tasks, sorted by name."""
    return map(find, names())


def register(task: Task) -> None:
    """Makes a task known that has no module here, to the host and to the board's side."""
    _REGISTRY.register(task)
    board.register(task)


def task_and_labels(checkpoint: Checkpoint, name: str | None = None) -> tuple[str, list[str]]:
    """What a checkpoint is for, by its head unless `name` says it, and its labels.

    Raises InputError where the task is unknown or needs more labels, CheckpointError where no task is
    for it, or its head is of none.
    """
    task = _guessed(checkpoint) if name is None else find(name)
    labels = task.labels(checkpoint)
    known: set[str] = set()
    for index, label in enumerate(labels):
        if not is_label(label) or label in known:
            raise CheckpointError(
                f"id2label in config.json calls label {index} {label!r}; each must have a name of its "
                "own, in one line without control characters: give it one there"
            )
        known.add(label)
    if task.labelled and 0 < len(labels) < task.least_labels:
        raise InputError(
            f"the checkpoint has 1 label, and {task.name} needs at least {task.least_labels}; of a "
            "text it is a score (text-scoring) or a number (text-regression)"
        )
    return task.name, labels


def _guessed(checkpoint: Checkpoint) -> Task:
    config = checkpoint.config
    # Of equals, one that has a head.
    task = max(every(), key=lambda task: (task.fit(checkpoint), bool(task.modules(config))))
    if not task.fit(checkpoint):
        problem = checkpoint.config.source.get("problem_type")
        raise CheckpointError(
            f"no task of tfedge is for this checkpoint, whose problem_type is {problem}: name one of "
            f"{', '.join(names())} with --task"
        )
    heads.refuse_unread(checkpoint, task, every())
    return task
