"""Commands that train a checkpoint for its task."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfedge import tasks
from tfedge.cli import options
from tfedge.cli.given import check_reader, opened
from tfedge.cli.options import (
    PATH,
    TrainingData,
    echo_report,
    lessons,
    take,
    training_data,
    training_request,
)
from tfedge.cli.pictures import (
    FROZEN,
    IMAGE_OPTIONS,
    TRAINED,
    image_options,
    read_pictures,
    settle_images,
)
from tfedge.cli.summary import static_summary, training_summary
from tfedge.data.overlap import held_apart
from tfedge.data.texts import Texts
from tfedge.models.config import parse_config
from tfedge.models.stored import Checkpoint
from tfedge.quiet import load_tensorflow
from tfedge.tasks import columns
from tfedge.tasks.base import Rows
from tfedge.train.image_options import CHANGES, ImageOptions
from tfedge.train.place import refuse_existing
from tfedge.train.result import Trained
from tfedge.train.usual import usual_epochs, usual_learning_rate

if TYPE_CHECKING:
    from tfedge.train.run import Request
    from tfedge.train.static import Static


_STATIC = "static"  # the student that is made, not trained


@click.command()
@click.argument("model")
@click.option(
    "--labels",
    help="Comma-separated names of the labels; default: those in the data. Where the checkpoint's are "
    "the same, in any order, its head is trained on, else a new one.",
)
@click.option(
    "--task",
    type=click.Choice([task.name for task in tasks.every() if task.trains_on_labels]),
    help="What is learned. Default: by the columns of --data, see below.",
)
@click.option(
    "--out-of-scope",
    metavar="LABEL",
    help="Label of texts that have none of the others (oos, say): it is given from a threshold on that "
    "is best on --eval, whether or not --data has texts of it.",
)
@click.option(
    "--class-weights",
    type=click.Choice(["none", "balanced"]),
    default="none",
    help="balanced: each label counts alike, however few texts have it.",
)
@click.option(
    "--learning-curve",
    is_flag=True,
    help="Train on a quarter and a half of --data first, and tell what twice as much would give; takes "
    "up to three times as long.",
)
@click.option(
    "--trunk",
    type=click.Choice([FROZEN, TRAINED]),
    help="Of a model of images. frozen (default): only the head learns, from what the encoder makes of "
    "each image, which is computed once; trained: all weights do.",
)
@click.option(
    "--augment",
    metavar="NAMES",
    help="With --trunk trained: how images are changed at random each time they are read, "
    f"comma-separated of {', '.join(CHANGES)} (default: all), or none. Leave flip out where left and "
    "right mean something, as in digits.",
)
@options.float_training
@options.training_by_rule
def finetune(model: str, labels: str | None, as_json: bool, **settings: Any) -> None:
    """Trains an encoder for a task, on data that have the answers.

    \b
    tfedge finetune minilm --data train.tsv --eval dev.tsv --output ./mine
    tfedge convert ./mine --calibration train.tsv --eval dev.tsv

    \b
    columns of --data               what is trained (--task)        judged on --eval by
    text, label                     text-classification             accuracy
    text, labels: lists             text-multi-label                macro F1
    text, score: a number           text-regression                 Spearman's correlation
    tokens, tags: lists; .conll     token-classification            F1 of entities
    question, context, answers;     question-answering              F1 of words
      .json as SQuAD's
    anchor, positive (, negative)   sentence-embedding              own counterpart first
    query, passage, relevance       text-scoring                    nDCG@10 of a query's list
    text, score 0 to 1              text-scoring, where --task says so
    pairs (, score)                 sentence-embedding, likewise    (Spearman's correlation)
    pictures/: a folder a label     image-classification            accuracy
    Without --eval a tenth of --data, drawn by label, is measured on instead.
    Two texts a row (text and text_pair, or see --text-column) are read together.

    A killed run resumes when the same command is given again. All GPUs of the machine are used; with
    TF_CONFIG in the environment, the same command on each of its workers trains one model together
    (--batch-size is that of all, --output on a file system that they share). So does distil.
    """
    _echo_accuracy(run_finetuning(model, labels, settings), as_json)


def run_finetuning(model: str, labels: str | None, settings: dict[str, Any]) -> Trained:
    """Does what `finetune` does, with its options."""
    label, weights = (settings.pop(name) for name in ("out_of_scope", "class_weights"))
    wants_curve, epochs = settings.pop("learning_curve"), settings["epochs"]
    images = image_options(model, finetune, {**settings, "out_of_scope": label})
    settings = {name: value for name, value in settings.items() if name not in IMAGE_OPTIONS}
    data, names = _lessons(model, labels, label, settings, images)
    check_reader(data.folder, str(data.task))
    load_tensorflow()
    from tfedge.train.curve import with_curve
    from tfedge.train.finetune import LabelOptions
    from tfedge.train.finetune import finetune as run
    from tfedge.train.finetune_images import finetune_images

    of_labels = LabelOptions(label, weights == "balanced")

    def train(part: Request) -> Trained:
        if images is not None:
            return finetune_images(part, names, of_labels, images)
        usual = usual_epochs(len(part.texts), part.options.batch_size)
        chosen = dataclasses.replace(part.options, epochs=epochs or usual)
        return run(dataclasses.replace(part, options=chosen), names, of_labels)

    request = training_request(data, settings)
    return with_curve(request, train) if wants_curve else train(request)


def _lessons(
    model: str,
    labels: str | None,
    out_of_scope: str | None,
    settings: dict[str, Any],
    images: ImageOptions | None,
) -> tuple[TrainingData, list[str]]:
    """What is trained on and measured on, and the labels; settles what `settings` leave open."""
    data = lessons(model, settings)
    task, rows, held_out = tasks.find(data.task or ""), data.texts, data.evaluation
    assert isinstance(rows, Rows) and not isinstance(held_out, Texts)
    names = [name.strip() for name in labels.split(",")] if labels else task.new_labels(rows)
    if out_of_scope and columns.key(out_of_scope) not in map(columns.key, names):
        names.append(out_of_scope)
    task.truth(rows, names)  # refused before TensorFlow is loaded
    if data.needs_held_out:
        rows, held_out = held_apart(rows, task.together(rows))
    if images is not None:
        rows, held_out = read_pictures(data.folder, rows, held_out)
        settle_images(settings, images)
    settle_course(settings, len(rows), Checkpoint(data.folder).config.hidden_size)
    if data.needs_held_out and held_out is not None:
        settings["patience"] = settings["patience"] or settings["epochs"]
    return dataclasses.replace(data, texts=rows, evaluation=held_out), names


def settle_course(settings: dict[str, Any], texts: int, width: int) -> None:
    """How long and how fast to train, where `settings` leave it open, by the number of texts and the
    width of the encoder that is trained."""
    settings["epochs"] = settings["epochs"] or usual_epochs(texts, settings["batch_size"])
    settings["learning_rate"] = settings["learning_rate"] or usual_learning_rate(width)


@click.command()
@click.argument("preset", required=False)
@click.option(
    "--student",
    type=click.Choice([_STATIC]),
    help="In place of PRESET: static makes a table of what the teacher, any embedder, gives for each "
    "token, and needs no --data.",
)
@click.option(
    "--width",
    type=click.IntRange(1, 4096),
    help="Numbers of an embedding with --student static. Default: 256, or as many as the teacher has.",
)
@click.option(
    "--teacher",
    required=True,
    type=PATH,
    help="A model of the BERT family that tfedge finetune can train, such as a classifier or an "
    "embedder: a folder, or a name (minilm).",
)
@options.temperature
@click.option("--logit-weight", "logits", default=1.0, help="Weight of the teacher's logits.")
@options.hidden
@options.labels
@click.option(
    "--relation-weight",
    "relations",
    default=0.0,
    help="Weight of the relations between tokens (MiniLMv2), the similarities of their queries, keys "
    "and values.",
)
@click.option(
    "--relation-layer",
    type=click.IntRange(1),
    help="The teacher's layer whose relations the student's last layer learns. Default: the last.",
)
@click.option(
    "--relation-heads",
    type=click.IntRange(1),
    help="Relation heads, a divisor of both widths. Default: the student's attention heads.",
)
@options.augmentation
@click.option(
    "--cache",
    type=PATH,
    help="Folder for the teacher's outputs on batches without replaced words, which are then computed "
    "once for all epochs and for later runs with the same teacher, texts and --max-length. Takes "
    "about 2 bytes x tokens of all texts x hidden states x width; may be deleted at any time.",
)
@options.float_training
@options.training_or_none
def distil(
    preset: str | None, teacher: Path, cache: Path | None, as_json: bool, **settings: Any
) -> None:
    """Trains the small model of PRESET on the answers of a larger teacher.

    \b
    tfedge distil tinybert --teacher ./mine --data train.tsv --eval dev.tsv --output ./small
    tfedge distil --student static --teacher minilm --output ./table

    Of an embedder the texts need no labels; a student of another width learns which texts are alike.
    The student starts from the teacher's own weights, cut to size, and learns the teacher's
    logits and hidden states. Its layer i of n learns the hidden states of the teacher's layer
    i * N / n of N (4 of 6: 1, 3, 4, 6), and with --relation-weight its last layer the relations of
    one layer. A killed run resumes when the same command is given again.
    """
    report = run_distillation(preset, teacher, cache, settings)
    if isinstance(report, Trained):
        _echo_accuracy(report, as_json)
    else:
        echo_report(report, as_json, static_summary)


def run_distillation(
    preset: str | None, teacher: Path, cache: Path | None, settings: dict[str, Any]
) -> Trained | Static:
    """Does what `distil` does, with its options."""
    from tfedge.presets import load_preset

    student_kind, width = settings.pop("student"), settings.pop("width")
    if student_kind is not None:
        return _make_static(teacher, width, {**settings, "preset": preset, "cache": cache})
    if preset is None or settings["data"] is None:
        what = "argument 'PRESET'" if preset is None else "option '--data'"
        raise click.UsageError(f"Missing {what}; only --student {_STATIC} goes without")
    if width is not None:
        raise click.UsageError(f"--width is for --student {_STATIC} alone; a preset has its width")
    student = load_preset(preset).config
    data = training_data(preset, settings, teacher)
    settle_course(settings, len(data.texts), parse_config(student).hidden_size)
    load_tensorflow()
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.distil import distil as run

    losses, augmentation = take(DistillationLosses, settings), settings.pop("augmentation")
    request = training_request(data, settings)
    return run(request, student, losses, augmentation, cache)


def _make_static(teacher: Path, width: int | None, settings: dict[str, Any]) -> Static:
    """Makes static embeddings; raises UsageError for options that only training has."""
    context = click.Context(distil)
    output, force = settings.pop("output"), settings.pop("force")
    for option in distil.params:
        value = settings.get(str(option.name))
        if value not in (None, False) and value != option.get_default(context):
            named = option.opts[0] if isinstance(option, click.Option) else "PRESET"
            raise click.UsageError(f"{named} does not apply to --student {_STATIC}; leave it out")
    refuse_existing(output, force)
    source, task = opened(str(teacher), "sentence-embedding")
    check_reader(source.folder, task.name)
    load_tensorflow()
    from tfedge.progress import ProgressBar
    from tfedge.train.static import USUAL_WIDTH, make_static

    return make_static(source.folder, output, width or USUAL_WIDTH, ProgressBar, force)


def _echo_accuracy(report: Trained, as_json: bool) -> None:
    echo_report(report, as_json, training_summary, indent=None)
