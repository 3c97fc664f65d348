"""Options and output that several commands share."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from tfedge import tasks
from tfedge.errors import InputError
from tfedge.notes import QUIET, VERBOSE, VERBOSITY
from tfedge.records import as_json
from tfedge.show.numbers import harmless

if TYPE_CHECKING:
    from tfedge.boards.remote import Remote
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts
    from tfedge.tasks.base import Rows
    from tfedge.train.run import Request

Options = TypeVar("Options")
Report = TypeVar("Report")
Decorator = Callable[[Any], Any]


def refuse_endless(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """What an option gives, unless it is NaN or infinite.

    Every comparison with NaN is false: no range holds it off, and `--max-drop nan` would let all pass.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number", context, option)
    return value


class _New(click.Path):
    """The path of what is to be made, beside which other names are derived from its own."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path.name in ("", ".."):
            self.fail(f"{os.fspath(value)!r} names nothing that could be made", param, ctx)
        return path


class Once(click.Option):
    """An option that takes one value, where others of that name take several: of two, click would drop
    the first without a word."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        parser.add_option(obj=self, opts=self.opts, dest=self.name, action="append")

    def consume_value(
        self, ctx: click.Context, opts: Mapping[str, Any]
    ) -> tuple[Any, ParameterSource]:
        value, source = super().consume_value(ctx, opts)
        if isinstance(value, list):
            if len(value) > 1:
                raise click.UsageError(
                    f"{self.opts[0]} takes one value, and was given {', '.join(value)}; give one, and "
                    "run the command again for each other",
                    ctx,
                )
            (value,) = value
        return value, source


PATH, NEW = click.Path(path_type=Path), _New(path_type=Path)
RUNTIME = click.Choice(["tflite-runtime", "litert"])
_NONE = "none"  # in place of texts to measure on
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


def _data(required: bool) -> Decorator:
    return together(
        click.option(
            "--data",
            required=required,
            help="Training texts: a TSV, CSV or JSONL file with columns text and label (TXT where no "
            "labels are needed), or a data set id on the Hugging Face hub. Rows may have pairs of "
            "texts.",
        ),
        click.option("--eval", "evaluation", help="Held-out texts to measure on."),
        columns,
        click.option("--output", required=True, type=NEW, help="Folder to write."),
    )


_course = together(
    click.option("--epochs", default=3, type=click.IntRange(1)),
    click.option("--batch-size", default=32, type=click.IntRange(1)),
    click.option("--learning-rate", default=5e-5, help="Peak; linear warm-up and decay."),
)
_course_by_rule = together(
    click.option(
        "--epochs",
        type=click.IntRange(1),
        help="Default: as many as make 2,500 batches, from 3 to 20.",
    ),
    click.option("--batch-size", default=32, type=click.IntRange(1)),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, min_open=True),
        help="Peak; linear warm-up and decay. Default: 5e-5 x (768 / width of the encoder)^2, so 2e-4 "
        "of MiniLM, at most 5e-4.",
    ),
)
_rest = together(
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
training = together(_data(True), _course, _rest)
# As it, how long and how fast to train being settled by the data and the encoder.
training_by_rule = together(_data(True), _course_by_rule, _rest)
# As it, where data need not be given.
training_or_none = together(_data(False), _course_by_rule, _rest)
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
board_option = click.option(
    "--board",
    cls=Once,
    metavar="BOARD",
    help="Run it on a board that ssh reaches: USER@HOST, or a name in ~/.config/tfedge/boards.toml; "
    "`tfedge board setup BOARD` prepares one.",
)
task_option = click.option(
    "--task",
    type=click.Choice(tasks.names()),
    help="Default: the preset's, else the one that the checkpoint has a head for.",
)


def remote_of(board: str | None) -> Remote | None:
    """The board that `board_option` names, if any; raises InputError where it is none."""
    from tfedge.boards.remote import Remote
    from tfedge.progress import ProgressBar

    return Remote.named(board, ProgressBar)


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
    texts: Texts | Rows
    evaluation: Texts | Rows | None
    needs_held_out: bool = False  # whether some of the texts are to be held out


def training_data(
    model: str, settings: dict[str, Any], teacher: Path | None = None, judged: bool = True
) -> TrainingData:
    """Takes that out of the options of a command, without TensorFlow, and refuses what cannot be used.

    Args:
        settings: the command's options; with a weight of `labels` the truth of texts is read.
        teacher: the folder to start from, in place of the model's own.
        judged: whether the truth of held-out texts is read.
    """
    from tfedge.cli.given import check_reader, check_trains, opened
    from tfedge.data.overlap import tell_overlap

    start = model if teacher is None else str(teacher)
    source, task = opened(start)
    check_trains(source)
    if task.extra_inputs:
        raise InputError(
            f"{start} is for {task.name}, which is not trained: train a head with tfedge finetune, or "
            "save the encoder alone where transformers is installed: "
            "AutoModel.from_pretrained(folder).save_pretrained(another)"
        )
    train, evaluation = _taken_data(settings)

    def read(data: Data, with_truth: bool) -> Texts | Rows:
        # As finetune does: of embedders also pairs that belong together and have no score.
        is_read = with_truth and task.trains_on_labels
        return task.read_lessons(data) if is_read else data.texts(may_lack_labels=True)

    texts = read(train, bool(settings.get("labels")))
    held_out = read(evaluation, judged) if evaluation else None
    if held_out is not None:
        tell_overlap(_as_rows(texts), _as_rows(held_out))
    check_reader(source.folder, task.name)
    given_task = source.task if teacher is None else None
    return TrainingData(model, source.folder, given_task, texts, held_out)


def _as_rows(given: Texts | Rows) -> Rows:
    from tfedge.tasks.base import Rows

    return given if isinstance(given, Rows) else Rows(given.texts, None, given.source)


def lessons(model: str, settings: dict[str, Any]) -> TrainingData:
    """As `training_data`, with what is to be learned of each text, and the task for which it is; the
    head of `model` may be new, whatever it has."""
    from tfedge.data.overlap import tell_contradictions, tell_overlap, tell_same_images
    from tfedge.models.hub import resolve
    from tfedge.models.stored import Checkpoint
    from tfedge.notes import note
    from tfedge.tasks.guess import OF_IMAGES, USUAL, task_of

    source = resolve(model)
    config = Checkpoint(source.folder).config
    units = config.architecture.reads
    task, trains_on_all = settings.pop("task"), settings["evaluation"] == _NONE
    if trains_on_all:
        settings["evaluation"] = None
    train, evaluation = _taken_data(settings, units)
    if task is None and units == "images":
        task = OF_IMAGES
    elif task is None:
        task = task_of(train.table, train.columns)
        if task != USUAL:
            note(f"{train.name} is for {task}, which is trained; name another with --task")
    known = tasks.find(task)
    known.check(config)
    rows, held_out = known.read_lessons(train), None
    tell_contradictions(rows)
    if evaluation is not None:
        held_out = known.read_lessons(evaluation)
        (tell_overlap if known.input.has_tokenizer else tell_same_images)(rows, held_out)
    is_left_to_us = evaluation is None and not trains_on_all
    return TrainingData(model, source.folder, task, rows, held_out, is_left_to_us)


def _taken_data(settings: dict[str, Any], units: str = "texts") -> tuple[Data, Data | None]:
    """What is to be trained on and what is held out; raises InputError where there is none, or an
    output that may not be replaced."""
    from tfedge.data.hub import KINDS, check_data
    from tfedge.tasks.columns import ColumnNames
    from tfedge.train.place import refuse_existing

    given, evaluation = settings.pop("data"), settings.pop("evaluation")
    named = take(ColumnNames, settings)
    kind = KINDS[units]
    for name in filter(None, (given, evaluation)):
        if kind.may_be_on_hub:
            check_data(name)
    refuse_existing(settings["output"], settings["force"])
    held_out = kind(evaluation, "validation", named) if evaluation else None
    return kind(given, "train", named), held_out


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
    click.echo(
        json.dumps(as_json(report), indent=indent) if prints_json else harmless(summary(report))
    )
