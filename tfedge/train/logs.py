"""What a training tells while it runs: to whoever started it, and to TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from tfedge import files
from tfedge.errors import InputError
from tfedge.train.figures import add_figures

# Called with the step, the number of steps in all, and figures: losses, or `eval_accuracy`.
Report = Callable[[int, int, dict[str, float]], None]


def logged(report: Report, folder: Path | None) -> Report:
    """`report`, with all figures also written to `folder`, for TensorBoard and as lines of JSON
    (`tfedge.train.figures`); None writes nothing.

    A resumed run writes another file into the folder; TensorBoard shows both as one run. Raises
    InputError where the folder cannot be written.
    """
    if folder is None:
        return report
    files.check_folder(folder)
    writer = tf.summary.create_file_writer(str(folder))
    # What tf.summary.scalar does, which needs the package tensorboard.
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR"
    )

    def reported(step: int, steps: int, figures: dict[str, float]) -> None:
        if step == 0:  # what is prepared before training
            return report(step, steps, figures)
        with writes_to(folder), writer.as_default():
            for name, value in figures.items():
                tf.summary.write(name, tf.constant(value, tf.float32), step, metadata)
            writer.flush()
        add_figures(folder, step, steps, figures)
        report(step, steps, figures)

    return reported


@contextlib.contextmanager
def writes_to(folder: Path) -> Iterator[None]:
    """Raises InputError where TensorFlow cannot write: no room, mostly."""
    try:
        yield
    except tf.errors.OpError as error:
        reason = str(error.message).partition("\n")[0]
        raise InputError(
            f"cannot write into {folder} ({reason}); make room there, then repeat the command"
        ) from error
