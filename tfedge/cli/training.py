"""Commands that train a checkpoint: finetune, distil and qad."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from tfedge.cli.options import (
    augmentation_option,
    echo_report,
    float_training_options,
    hidden_option,
    label_option,
    steps_option,
    take,
    temperature_option,
    training_options,
    training_request,
)
from tfedge.quiet import load_tensorflow


@click.command()
@click.argument("model")
@click.option("--labels", help="Comma-separated names of the labels; default: those in the data.")
@float_training_options
@training_options
def finetune(model: str, labels: str | None, as_json: bool, **settings: Any) -> None:
    """Trains a text classifier from an encoder.

    A killed run resumes when the same command is given again. All GPUs of the machine are used; with
    TF_CONFIG in the environment, the same command on each of its workers trains one model together
    (--batch-size is that of all, --output on a file system that they share). So does distil.
    """
    load_tensorflow()
    from tfedge.models.hub import resolve
    from tfedge.train.finetune import finetune as run

    request = training_request(model, resolve(model).folder, settings)
    given = [name.strip() for name in labels.split(",")] if labels else None
    accuracy = run(request, given or sorted(set(request.texts.labels or ())))
    _echo_accuracy(request.output, accuracy, as_json)


@click.command()
@click.argument("preset")
@click.option(
    "--teacher",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of a fine-tuned text classifier of the BERT family.",
)
@temperature_option
@click.option(
    "--logit-weight",
    "logits",
    default=1.0,
    show_default=True,
    help="Weight of the teacher's logits.",
)
@hidden_option
@label_option
@click.option(
    "--relation-weight",
    "relations",
    default=0.0,
    show_default=True,
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
@augmentation_option
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Folder for the teacher's outputs on batches without replaced words, which are then computed "
    "once for all epochs and for later runs with the same teacher, texts and --max-length. Takes "
    "about 2 bytes x tokens of all texts x hidden states x width; may be deleted at any time.",
)
@float_training_options
@training_options
def distil(preset: str, teacher: Path, cache: Path | None, as_json: bool, **settings: Any) -> None:
    """Trains the small model of PRESET on the answers of a larger teacher.

    The student starts from the teacher's own weights, cut to size, and learns the teacher's
    logits and hidden states. Its layer i of n learns the hidden states of the teacher's layer
    i * N / n of N (4 of 6: 1, 3, 4, 6), and with --relation-weight its last layer the relations of
    one layer. A killed run resumes when the same command is given again.
    """
    load_tensorflow()
    from tfedge.presets import load_preset
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.distil import distil as run

    student = load_preset(preset).config
    losses, augmentation = take(DistillationLosses, settings), settings.pop("augmentation")
    request = training_request(preset, teacher, settings)
    accuracy = run(request, student, losses, augmentation, cache)
    _echo_accuracy(request.output, accuracy, as_json)


def _echo_accuracy(output: Path, accuracy: float | None, as_json: bool) -> None:
    measured = f"\taccuracy {accuracy:.4f}" if accuracy is not None else ""
    report = {"output": str(output), "accuracy": accuracy}
    echo_report(report, as_json, lambda _: f"{output}{measured}", indent=None)


@click.command()
@click.argument("model")
@steps_option
@temperature_option
@hidden_option
@click.option(
    "--target",
    type=click.Choice(["edgetpu", "edgetpu-plain"]),
    help="Simulate the graph that `tfedge convert --target` makes, instead of the usual one.",
)
@training_options
def qad(model: str, target: str | None, as_json: bool, **settings: Any) -> None:
    """Trains MODEL for int8, for when calibration alone loses too much.

    \b
    tfedge qad minilm --data texts.txt --steps 500 --output trained
    tfedge convert trained

    The int8 graph, with all its rounding simulated, learns to answer as the float model does; labels
    are not read. Beside the weights a JSON file keeps the ranges that they were trained with,
    which convert takes in place of calibrating. What is printed is how much the simulated graph
    differs from float on the texts of --eval (default: the package's own), before and after.
    A killed run resumes when the same command is given again.
    """
    load_tensorflow()
    from tfedge.cli.summary import qad_summary
    from tfedge.data.texts import package_texts
    from tfedge.models.hub import resolve
    from tfedge.targets import INTEGER, load_target
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.qad import qad as run

    source, losses = resolve(model), take(DistillationLosses, settings)
    request = training_request(
        model, source.folder, settings, source.task, steps_per_checkpoint=100
    )
    if request.evaluation is None:
        request = dataclasses.replace(request, evaluation=package_texts())
    report = run(request, losses, load_target(target).graph if target else INTEGER)
    echo_report(report, as_json, qad_summary)
