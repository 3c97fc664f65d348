"""What a command is given, refused before TensorFlow is loaded, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from tfedge import tasks
from tfedge.conversion.asked import Asked, ConvertOptions
from tfedge.data.hub import KINDS, check_data
from tfedge.data.reader import open_reader
from tfedge.errors import InputError
from tfedge.models.hub import Source, resolve
from tfedge.models.stored import Checkpoint
from tfedge.progress import ProgressBar
from tfedge.tasks.base import Rows, Task
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


def check_reader(folder: Path, task: str) -> None:
    """Raises CheckpointError where what texts or images are read with cannot be used. It imports
    transformers, which takes a second: what else can be refused is so before."""
    open_reader(folder, Checkpoint(folder).config, tasks.find(task))


def check_conversion(model: str, options: ConvertOptions) -> None:
    """Raises what a conversion would, as far as it can be told without a graph."""
    _check_output(options.output)
    asked = Asked(model, options, ProgressBar)
    if name := options.calibration:
        check_rows(name, asked.task)
    if name := options.evaluation or options.calibration:
        rows = check_rows(name, asked.task, options.columns)
        if rows is not None and options.evaluation:
            asked.task.truth(rows, asked.labels)
    _ = asked.reader  # which imports transformers, where the rest has been found good


def check_rows(name: str, task: Task, columns: ColumnNames | None = None) -> Rows | None:
    """Raises InputError where there are no data of that name, or they lack what a task reads, given
    how the user calls its `columns`; gives what is read of a file then."""
    if KINDS[task.units].may_be_on_hub:
        check_data(name)
    if columns is not None and Path(name).exists():
        return task.read(KINDS[task.units](name, "validation", columns))
    return None


def _check_output(folder: Path) -> None:
    if folder.is_file() or folder.suffix == ".tflite":
        raise InputError(
            f"--output {folder} is a file; give the folder in which MODEL/MODEL_QUANT.tflite is "
            f"written: --output {folder.parent}"
        )
