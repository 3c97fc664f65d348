"""Commands that train a checkpoint: finetune, distil and qad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfedge.cli.options import (
    augmentation_option,
    echo_trained,
    float_training_options,
    steps_option,
    temperature_option,
    training_options,
)
from tfedge.quiet import load_tensorflow


@click.command()
@click.argument("model")
@click.option("--labels", help="Comma-separated names of the labels; default: those in the data.")
@float_training_options
@training_options
def finetune(
    model: str,
    labels: str | None,
    data: str,
    evaluation: str | None,
    output: Path,
    logs: Path | None,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Trains a text classifier from an encoder.

    A killed run resumes when the same command is given again. All GPUs of the machine are used; with
    TF_CONFIG in the environment, the same command on each of its workers trains one model together
    (--batch-size is that of all, --output on a file system that they share). So does distil.
    """
    load_tensorflow()
    from tfedge.data.hub import read_data
    from tfedge.models.hub import resolve
    from tfedge.progress import ProgressBar, training_report
    from tfedge.train.finetune import finetune as run
    from tfedge.train.logs import logged
    from tfedge.train.training import TrainingOptions

    texts = read_data(data, "train")
    given = [name.strip() for name in labels.split(",")] if labels else None
    names = given or sorted(set(texts.labels or ()))
    options = TrainingOptions(**settings)
    held_out = read_data(evaluation, "validation") if evaluation else None
    source = resolve(model).folder
    steps = options.epochs * -(-len(texts) // options.batch_size)
    with ProgressBar(f"fine-tuning {model}", steps) as bar:
        report = logged(training_report(bar), logs)
        accuracy = run(source, texts, names, output, options, report, held_out, force)
    echo_trained(output, accuracy, as_json)


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
    "--logit-weight", default=1.0, show_default=True, help="Weight of the teacher's logits."
)
@click.option(
    "--hidden-weight", default=1.0, show_default=True, help="Weight of the hidden states' distance."
)
@click.option(
    "--label-weight", default=0.0, show_default=True, help="Weight of the data's own labels."
)
@click.option(
    "--relation-weight",
    default=0.0,
    show_default=True,
    help="Weight of the relations between tokens (MiniLMv2): how alike their queries, keys and "
    "values are.",
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
    help="Folder to keep the teacher's outputs in, for batches without replaced words: several "
    "epochs, and later runs with the same teacher, texts and --max-length, then compute them once. "
    "About 2 bytes x tokens of all texts x hidden states x width. Delete it when you like.",
)
@float_training_options
@training_options
def distil(
    preset: str,
    teacher: Path,
    temperature: float,
    logit_weight: float,
    hidden_weight: float,
    label_weight: float,
    relation_weight: float,
    relation_layer: int | None,
    relation_heads: int | None,
    augmentation: float,
    cache: Path | None,
    data: str,
    evaluation: str | None,
    output: Path,
    logs: Path | None,
    force: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Makes the small model of PRESET out of a larger teacher.

    The student starts from the teacher's own weights, cut to size, and learns the teacher's
    logits and hidden states. Its layer i of n learns the hidden states of the teacher's layer
    i * N / n of N (4 of 6: 1, 3, 4, 6), and with --relation-weight its last layer the relations of
    one layer. A killed run resumes when the same command is given again.
    """
    load_tensorflow()
    from tfedge.data.hub import read_data
    from tfedge.presets import load_preset
    from tfedge.progress import ProgressBar, training_report
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.distil import distil as run
    from tfedge.train.logs import logged
    from tfedge.train.training import TrainingOptions

    config = load_preset(preset).config
    texts = read_data(data, "train")
    held_out = read_data(evaluation, "validation") if evaluation else None
    options = TrainingOptions(**settings)
    losses = DistillationLosses(
        temperature,
        logits=logit_weight,
        hidden=hidden_weight,
        labels=label_weight,
        relations=relation_weight,
        relation_heads=relation_heads,
        relation_layer=relation_layer,
    )
    steps = options.epochs * -(-len(texts) // options.batch_size)
    with ProgressBar(f"distilling {preset}", steps) as bar:
        report = logged(training_report(bar), logs)
        accuracy = run(
            *(teacher, config, texts, output, options, losses, report, held_out),
            augmentation,
            force,
            cache,
        )
    echo_trained(output, accuracy, as_json)


@click.command()
@click.argument("model")
@steps_option
@temperature_option
@click.option(
    "--hidden-weight", default=1.0, show_default=True, help="Weight of the hidden states' distance."
)
@click.option(
    "--target",
    type=click.Choice(["edgetpu", "edgetpu-plain"]),
    help="Simulate the graph that `tfedge convert --target` makes, in place of the usual one.",
)
@training_options
def qad(
    model: str,
    temperature: float,
    hidden_weight: float,
    target: str | None,
    as_json: bool,
    data: str,
    evaluation: str | None,
    output: Path,
    logs: Path | None,
    force: bool,
    **settings: Any,
) -> None:
    """Trains MODEL to bear int8, for when calibration alone loses too much.

    \b
    tfedge qad minilm --data texts.txt --steps 500 --output trained
    tfedge convert trained

    The int8 graph, all its rounding simulated, learns to answer as the float model does; labels
    are not read. Beside the weights a JSON file keeps the ranges that they were trained with,
    which convert takes in place of calibrating. What is printed is how much the simulated graph
    differs from float on the texts of --eval (default: the package's own), before and after.
    A killed run resumes when the same command is given again.
    """
    load_tensorflow()
    from tfedge.cli.summary import qad_summary
    from tfedge.data.hub import read_data
    from tfedge.data.texts import package_texts
    from tfedge.models.hub import resolve
    from tfedge.progress import ProgressBar, training_report
    from tfedge.targets import load_target
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.logs import logged
    from tfedge.train.qad import qad as run
    from tfedge.train.training import TrainingOptions

    source = resolve(model)
    texts = read_data(data, "train")
    held_out = read_data(evaluation, "validation") if evaluation else package_texts()
    options = TrainingOptions(**settings, steps_per_checkpoint=100)
    losses = DistillationLosses(temperature, hidden=hidden_weight)
    task = source.task
    report = run(
        source.folder,
        texts,
        held_out,
        output,
        options,
        losses,
        ProgressBar,
        lambda bar: logged(training_report(bar), logs),
        task,
        force,
        **({"graph": load_target(target).graph} if target else {}),
    )
    click.echo(json.dumps(report, indent=2) if as_json else qad_summary(report))
