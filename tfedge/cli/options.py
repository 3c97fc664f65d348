"""Options and output that several commands share."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tfedge import tasks
from tfedge.notes import QUIET, VERBOSE, VERBOSITY
from tfedge.records import as_json

if TYPE_CHECKING:
    from tfedge.data.texts import Texts
    from tfedge.train.run import Request

Options = TypeVar("Options")
Report = TypeVar("Report")
Decorator = Callable[[Any], Any]

PATH = click.Path(path_type=Path)
RUNTIME = click.Choice(["tflite-runtime", "litert"])
SEED = click.IntRange(0, 2**32 - 1)
TOKENS = click.IntRange(3, 512)


def _sets_verbosity(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        os.environ[VERBOSITY] = str(option.name)


# Of `tfedge` and of each of its commands.
verbosity: list[click.Parameter] = [
    click.Option(
        [f"--{name}"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_sets_verbosity,
        help=says,
    )
    for name, says in (
        (QUIET, "Print results and errors only: no progress, no notes."),
        (VERBOSE, "Print what TensorFlow logs, too, and where an error comes from."),
    )
]


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator; `--help` shows them in this order."""
    return lambda command: functools.reduce(lambda made, add: add(made), reversed(options), command)


columns = together(
    click.option(
        "--text-column",
        metavar="NAME",
        help="Column of the texts, or of the first text of pairs. Default: text, sentence or question; "
        "of pairs text and text_pair, sentence1 and sentence2, premise and hypothesis, question and "
        "sentence, query and passage, or others that sets on the hub have.",
    ),
    click.option("--pair-column", metavar="NAME", help="Column of the second texts of pairs."),
    click.option(
        "--label-column", metavar="NAME", help="Column of the labels. Default: label or labels."
    ),
)
training = together(
    click.option(
        "--data",
        required=True,
        help="Training texts: a TSV, CSV or JSONL file with columns text and label (TXT where no "
        "labels are needed), or a data set id on the Hugging Face hub. Rows may have pairs of texts.",
    ),
    click.option("--eval", "evaluation", help="Held-out texts to measure on."),
    columns,
    click.option("--output", required=True, type=PATH, help="Folder to write."),
    click.option("--epochs", default=3, type=click.IntRange(1)),
    click.option("--batch-size", default=32, type=click.IntRange(1)),
    click.option("--learning-rate", default=5e-5, help="Peak; linear warm-up and decay."),
    click.option(
        "--max-length",
        default=64,
        type=click.IntRange(8, 512),
        help="Tokens of a text; longer texts are truncated.",
    ),
    click.option("--seed", default=0, type=SEED),
    click.option(
        "--xla",
        is_flag=True,
        help="Compile the training step with XLA, again for each batch length: worth it on GPUs and "
        "in long runs.",
    ),
    click.option(
        "--logs",
        type=PATH,
        help="Folder for TensorBoard: losses, learning rate, accuracy on --eval.",
    ),
    click.option(
        "--force",
        is_flag=True,
        help="Replace an existing --output, and what an "
        "interrupted run with other settings left of it.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the whole report."),
)
# What training in float has besides.
float_training = together(
    click.option(
        "--patience",
        type=click.IntRange(1),
        help="Stop when N epochs in a row are no better on --eval than the best one, and keep the best "
        "weights; accuracy on those same texts is then slightly too good. Default: train to the "
        "end.",
    ),
    click.option(
        "--mixed-precision",
        is_flag=True,
        help="Compute in bfloat16, with weights and losses in float32: worth it on GPUs and "
        "processors that support it.",
    ),
)
steps = click.option(
    "--steps", type=click.IntRange(1), help="Total number of batches, instead of --epochs."
)
temperature = click.option("--temperature", default=2.0, help="Divides both models' logits.")
hidden = click.option(
    "--hidden-weight", "hidden", default=1.0, help="Weight of the distance between hidden states."
)
labels = click.option(
    "--label-weight", "labels", default=0.0, help="Weight of the labels in the data."
)
augmentation = click.option(
    "--augmentation",
    default=0.5,
    type=click.FloatRange(0, 1),
    help="Share of batches in which words are replaced by similar ones.",
)
task_option = click.option(
    "--task",
    type=click.Choice(tasks.names()),
    help="Default: the preset's, else the one that the checkpoint has a head for.",
)


def take(kind: type[Options], settings: dict[str, Any]) -> Options:
    """A dataclass out of the options that are called as its fields, which leave `settings`."""
    fields = dataclasses.fields(cast("Any", kind))
    names = [field.name for field in fields if field.name in settings]
    return kind(**{name: settings.pop(name) for name in names})


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a command with `training` starts from and reads."""

    model: str
    folder: Path  # of the checkpoint to start from
    task: str | None
    texts: Texts
    evaluation: Texts | None


def training_data(
    model: str, settings: dict[str, Any], teacher: Path | None = None, labelled: bool = False
) -> TrainingData:
    """Takes that out of the options of a command, without TensorFlow, and refuses what cannot be used.

    Args:
        settings: the command's options.
        teacher: the folder to start from, in place of the model's own.
        labelled: whether each text must have a label, and one alone, for a head that may be new.
    """
    from tfedge.cli.given import opened, opened_encoder
    from tfedge.data.hub import check_data, read_data
    from tfedge.tasks.columns import ColumnNames
    from tfedge.train.place import refuse_existing

    start = model if teacher is None else str(teacher)
    source = opened_encoder(start) if labelled else opened(start)[0]
    given, evaluation = settings.pop("data"), settings.pop("evaluation")
    named = take(ColumnNames, settings)
    for name in filter(None, (given, evaluation)):
        check_data(name)
    refuse_existing(settings["output"], settings["force"])
    return TrainingData(
        model,
        source.folder,
        source.task if teacher is None else None,
        read_data(given, "train", named, not labelled),
        read_data(evaluation, "validation", named, not labelled) if evaluation else None,
    )


def training_request(data: TrainingData, settings: dict[str, Any], **changes: Any) -> Request:
    """What a command with `training` is to do.

    Args:
        settings: the command's options that are left.
        changes: of the options of training.
    """
    from tfedge.progress import ProgressBar, training_report
    from tfedge.train.logs import logged
    from tfedge.train.run import Request
    from tfedge.train.training import TrainingOptions

    logs = settings.pop("logs")
    return Request(
        texts=data.texts,
        evaluation=data.evaluation,
        options=dataclasses.replace(take(TrainingOptions, settings), **changes),
        source=data.folder,
        make_bar=ProgressBar,
        make_report=lambda bar: logged(training_report(bar), logs),
        task=data.task,
        name=data.model,
        **settings,
    )


def echo_report(
    report: Report, prints_json: bool, summary: Callable[[Report], str], indent: int | None = 2
) -> None:
    """Prints a report as JSON or as text."""
    click.echo(json.dumps(as_json(report), indent=indent) if prints_json else summary(report))
