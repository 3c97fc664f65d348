"""Commands that make a checkpoint smaller: prune and shrink."""

from __future__ import annotations

import json
from typing import Any

import click

from tfedge.cli.options import (
    augmentation_option,
    float_training_options,
    steps_option,
    temperature_option,
    training_options,
)
from tfedge.quiet import load_tensorflow


@click.command()
@click.argument("model")
@click.option(
    "--sparsity",
    default=0.5,
    show_default=True,
    help="Share of the weights of each pruned layer that become zero.",
)
@click.option(
    "--layers",
    multiple=True,
    metavar="NAME[=SPARSITY][/PATTERN]",
    help="Layers to prune, e.g. 'encoder.*' or '*.intermediate.dense=0.8', with a pattern of their "
    "own as 'embeddings.word_embeddings/4x1'; may be repeated, the last that matches counts. "
    "Default: all dense layers but the head's last. Tables (embeddings.word_embeddings) hold most "
    "weights of a small model; rows of words that the texts lack learn to do without them only by "
    "--random-tokens.",
)
@click.option(
    "--pattern",
    default="none",
    show_default=True,
    metavar="none|M:N|RxC",
    help="none: single weights; 2:4: two of each four inputs; 4x1: blocks of 4 inputs x 1 output (in "
    "a table 4 channels of a row), which lie side by side in the file: more exactness is lost than "
    "with single weights, and more bytes saved by gzip.",
)
@click.option(
    "--schedule",
    type=click.Choice(["polynomial", "constant"]),
    default="polynomial",
    show_default=True,
    help="polynomial: in steps, ever smaller ones; constant: all at once.",
)
@click.option("--initial-sparsity", default=0.0, show_default=True, help="Where polynomial begins.")
@click.option(
    "--begin-step",
    type=click.IntRange(0),
    help="First step that prunes. Default: 1, or as few later as let the last be --end-step.",
)
@click.option(
    "--end-step", type=click.IntRange(0), help="Last step that prunes. Default: 3/4 of the run."
)
@click.option(
    "--frequency", type=click.IntRange(1), help="Steps between. Default: so that there are 20."
)
@click.option(
    "--teacher",
    metavar="MODEL",
    help="What it learns from; default: MODEL itself, as it was before.",
)
@steps_option
@temperature_option
@click.option(
    "--hidden-weight", default=1.0, show_default=True, help="Weight of the hidden states' distance."
)
@click.option(
    "--label-weight", default=0.0, show_default=True, help="Weight of the data's own labels."
)
@augmentation_option
@click.option(
    "--random-tokens",
    "random_share",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of batches in which half of the tokens are replaced by random ones, so that every "
    "row of a pruned table learns.",
)
@float_training_options
@training_options
def prune(model: str, **settings: Any) -> None:
    """Makes the smallest weights of MODEL zero, so that its file compresses better.

    \b
    tfedge prune tinybert --sparsity 0.5 --data texts.txt --output pruned
    tfedge convert pruned

    The model learns meanwhile to answer as it did before; labels are read only for
    --label-weight. The zeros stay zeros in every .tflite, which takes as long as before: the
    gain is in what is downloaded or stored compressed. A killed run resumes when the same
    command is given again.
    """
    load_tensorflow()
    from tfedge.cli.summary import pruning_summary
    from tfedge.data.hub import read_data
    from tfedge.models.hub import resolve
    from tfedge.progress import ProgressBar, training_report
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.logs import logged
    from tfedge.train.prune import prune as run
    from tfedge.train.sparsity import PruningOptions
    from tfedge.train.training import TrainingOptions

    def taken(*names: str) -> dict[str, Any]:
        return {name: settings.pop(name) for name in names}

    pruning = PruningOptions(
        layers=settings.pop("layers") or None,
        **taken("sparsity", "pattern", "schedule", "initial_sparsity"),
        **taken("begin_step", "end_step", "frequency"),
    )
    weights = taken("temperature", "hidden_weight", "label_weight")
    losses = DistillationLosses(
        weights["temperature"], hidden=weights["hidden_weight"], labels=weights["label_weight"]
    )
    source, teacher = resolve(model), settings.pop("teacher")
    texts, evaluation = read_data(settings.pop("data"), "train"), settings.pop("evaluation")
    output, logs, force, as_json = taken("output", "logs", "force", "as_json").values()
    augmenting = taken("augmentation", "random_share")
    options = TrainingOptions(**settings, steps_per_checkpoint=100)
    steps = options.steps or options.epochs * -(-len(texts) // options.batch_size)
    with ProgressBar(f"pruning {model}", steps) as bar:
        report = run(
            source.folder,
            texts,
            output,
            pruning,
            options,
            losses,
            logged(training_report(bar), logs),
            resolve(teacher).folder if teacher else None,
            read_data(evaluation, "validation") if evaluation else None,
            source.task,
            force,
            **augmenting,
        )
    click.echo(json.dumps(report, indent=2) if as_json else pruning_summary(report))


@click.command()
@click.argument("model")
@click.option(
    "--target-flops",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="RATIO",
    help="Floating-point operations of the encoder that may be left, as a share, e.g. 0.5.",
)
@click.option(
    "--target-latency",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="RATIO",
    help="Instead: instructions of --target that may be left, in int8.",
)
@click.option(
    "--target",
    "board",
    type=click.Choice(["rpi4", "rpi5"]),
    help="The board whose instructions are counted, and reported. Default: rpi4.",
)
@click.option(
    "--seq-len",
    default=128,
    show_default=True,
    type=click.IntRange(3, 512),
    help="Tokens of the texts that costs are meant for.",
)
@click.option(
    "--remove",
    multiple=True,
    type=click.Choice(["heads", "neurons", "layers", "width"]),
    help="What may be removed; may be repeated. Default: neurons. With heads the result is a "
    "folder that only tfedge reads.",
)
@click.option(
    "--per-layer",
    is_flag=True,
    help="Let layers keep different numbers of heads and neurons, by importance. Only tfedge reads "
    "such a folder. Default: all layers keep equal numbers.",
)
@steps_option
@temperature_option
@click.option(
    "--hidden-weight", default=1.0, show_default=True, help="Weight of the hidden states' distance."
)
@click.option(
    "--label-weight", default=0.0, show_default=True, help="Weight of the data's own labels."
)
@augmentation_option
@training_options
def shrink(model: str, **settings: Any) -> None:
    """Removes the least important parts of MODEL, so that it gets faster everywhere.

    \b
    tfedge shrink ./my-model --target-flops 0.5 --data texts.txt --output half
    tfedge shrink ./my-model --target-latency 0.5 --target rpi5 --remove heads \\
        --remove neurons --per-layer --data texts.txt --output fast
    tfedge convert half

    Feed-forward neurons, heads, layers and hidden channels are weighed by what the answers to
    --data would lose without them; labels are read only for --label-weight. What is left learns
    to answer as MODEL did. Where --remove allows layers or width, each number of them is tried
    and the one whose answers are nearest to MODEL's is taken. A killed run resumes when the same
    command is given again.
    """
    load_tensorflow()
    from tfedge.cli.summary import shrink_summary
    from tfedge.data.hub import read_data
    from tfedge.models.cost import load_costs
    from tfedge.models.hub import resolve
    from tfedge.progress import ProgressBar, training_report
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.logs import logged
    from tfedge.train.select import Space
    from tfedge.train.shrink import Target
    from tfedge.train.shrink import shrink as run
    from tfedge.train.training import TrainingOptions

    flops, latency = settings.pop("target_flops"), settings.pop("target_latency")
    if (flops is None) == (latency is None):
        raise click.UsageError("give one of --target-flops and --target-latency")
    remove = frozenset(settings.pop("remove") or ("neurons",))
    target = Target(
        flops or latency,
        Space(remove, uniform=not settings.pop("per_layer")),
        settings.pop("seq_len"),
        load_costs(settings.pop("board") or "rpi4"),
        "flops" if flops else "instructions",
    )
    losses = DistillationLosses(
        settings.pop("temperature"),
        hidden=settings.pop("hidden_weight"),
        labels=settings.pop("label_weight"),
    )
    source = resolve(model)
    texts, evaluation = read_data(settings.pop("data"), "train"), settings.pop("evaluation")
    output, logs, force, as_json, augmentation = (
        settings.pop(name) for name in ("output", "logs", "force", "as_json", "augmentation")
    )
    report = run(
        source.folder,
        texts,
        output,
        target,
        TrainingOptions(**settings, steps_per_checkpoint=100),
        losses,
        ProgressBar,
        lambda bar: logged(training_report(bar), logs),
        read_data(evaluation, "validation") if evaluation else None,
        source.task,
        augmentation,
        force,
    )
    click.echo(json.dumps(report, indent=2) if as_json else shrink_summary(report))
