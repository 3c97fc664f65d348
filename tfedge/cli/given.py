"""What a command is given, refused before TensorFlow is loaded, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge import tasks
from tfedge.boards.remote import Remote
from tfedge.data.hub import KINDS, check_data
from tfedge.errors import InputError
from tfedge.measure.board import check_runtime, wanted_runtime
from tfedge.models.hub import Source, resolve
from tfedge.models.stored import Checkpoint
from tfedge.progress import ProgressBar
from tfedge.targets import load_target
from tfedge.tasks.base import Task
from tfedge.tasks.columns import ColumnNames


def opened(model: str, task: str | None = None) -> tuple[Source, Task]:
    """The checkpoint that MODEL stands for, and its task or the one that is given; raises InputError,
    CheckpointError where it has none that can be read."""
    source = resolve(model)
    name, _ = tasks.task_and_labels(Checkpoint(source.folder), task or source.task)
    return source, tasks.find(name)


def check_trains(source: Source) -> None:
    """Raises InputError where a checkpoint reads no texts, before its data, a folder of images perhaps,
    are taken for texts; CheckpointError where it has no weights that can be read."""
    Checkpoint(source.folder).config.architecture.check_reads_texts("this stage")


def check_conversion(model: str, settings: Mapping[str, Any], columns: ColumnNames) -> None:
    """Raises what a conversion would, as far as it can be told at once.

    Args:
        settings: the options of `tfedge convert` by name.
    """
    source, task = opened(model, settings["task"])
    _check_output(settings["output"])
    target = load_target(settings["target"]) if settings["target"] else None
    remote = Remote.named(settings["board"], ProgressBar)
    check_runtime(wanted_runtime(settings["runtime"], target, remote), remote)
    if name := settings["calibration"]:
        check_rows(name, task)
    if name := settings["evaluation"] or settings["calibration"]:
        check_rows(name, task, columns)
    if task.input.has_tokenizer:
        from tfedge.data.tokenizer import check_tokenizer

        check_tokenizer(source.folder, Checkpoint(source.folder).config.vocab_size)


def check_rows(name: str, task: Task, columns: ColumnNames | None = None) -> None:
    """Raises InputError where there are no data of that name, or they lack what a task reads, given
    how the user calls its `columns`."""
    if KINDS[task.units].may_be_on_hub:
        check_data(name)
    if columns is not None and Path(name).exists():
        task.read(KINDS[task.units](name, "validation", columns))


def _check_output(folder: Path) -> None:
    if folder.is_file() or folder.suffix == ".tflite":
        raise InputError(
            f"--output {folder} is a file; give the folder in which MODEL/MODEL_QUANT.tflite is "
            f"written: --output {folder.parent}"
        )
