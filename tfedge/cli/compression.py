"""Commands that make a checkpoint smaller: prune and shrink."""

from __future__ import annotations

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
    help="Layers to prune, e.g. 'encoder.*' or '*.intermediate.dense=0.8', with their own "
    "pattern as in 'embeddings.word_embeddings/4x1'; may be repeated, the last match counts. "
    "Default: all dense layers except the head's last. Tables (embeddings.word_embeddings) hold most "
    "weights of a small model; rows of words that the texts lack are only trained with "
    "--random-tokens.",
)
@click.option(
    "--pattern",
    default="none",
    show_default=True,
    metavar="none|M:N|RxC",
    help="none: single weights; 2:4: two of each four inputs; 4x1: blocks of 4 inputs x 1 output (in "
    "a table, 4 channels of a row), which are adjacent in the file: gzip saves more bytes than with "
    "single weights, but more accuracy is lost.",
)
@click.option(
    "--schedule",
    type=click.Choice(["polynomial", "constant"]),
    default="polynomial",
    show_default=True,
    help="polynomial: in steps that get smaller and smaller; constant: all at once.",
)
@click.option(
    "--initial-sparsity",
    default=0.0,
    show_default=True,
    help="Sparsity at which polynomial begins.",
)
@click.option(
    "--begin-step",
    type=click.IntRange(0),
    help="First step that prunes. Default: 1, or slightly later so that the last one is --end-step.",
)
@click.option(
    "--end-step",
    type=click.IntRange(0),
    help="Last step that prunes. Default: after 3/4 of the run.",
)
@click.option(
    "--frequency",
    type=click.IntRange(1),
    help="Steps between prunings. Default: chosen so that there are 20.",
)
@click.option(
    "--teacher",
    metavar="MODEL",
    help="What the model learns from; default: MODEL itself, as it was before.",
)
@steps_option
@temperature_option
@hidden_option
@label_option
@augmentation_option
@click.option(
    "--random-tokens",
    "random_share",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of batches in which half of the tokens are replaced by random ones, so that every "
    "row of a pruned table is trained.",
)
@float_training_options
@training_options
def prune(model: str, as_json: bool, **settings: Any) -> None:
    """Makes the smallest weights of MODEL zero, so that its file compresses better.

    \b
    tfedge prune tinybert --sparsity 0.5 --data texts.txt --output pruned
    tfedge convert pruned

    Meanwhile the model learns to answer as it did before; labels are only read for
    --label-weight. The zeros stay zeros in every .tflite, which takes as long as before: the
    gain is in what is downloaded or stored compressed. A killed run resumes when the same
    command is given again.
    """
    load_tensorflow()
    from tfedge.cli.summary import pruning_summary
    from tfedge.models.hub import resolve
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.prune import prune as run
    from tfedge.train.sparsity import PruningOptions

    settings["layers"] = settings["layers"] or None
    pruning, losses = take(PruningOptions, settings), take(DistillationLosses, settings)
    source, teacher = resolve(model), settings.pop("teacher")
    augmenting = [settings.pop(name) for name in ("augmentation", "random_share")]
    request = training_request(
        model, source.folder, settings, source.task, steps_per_checkpoint=100
    )
    report = run(
        request, pruning, losses, resolve(teacher).folder if teacher else None, *augmenting
    )
    echo_report(report, as_json, pruning_summary)


@click.command()
@click.argument("model")
@click.option(
    "--target-flops",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="RATIO",
    help="Share of the encoder's floating-point operations that may be left, e.g. 0.5.",
)
@click.option(
    "--target-latency",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="RATIO",
    help="Instead: share of the int8 instructions on --target that may be left.",
)
@click.option(
    "--target",
    "board",
    type=click.Choice(["rpi4", "rpi5"]),
    help="The board whose instructions are predicted. Default: rpi4.",
)
@click.option(
    "--seq-len",
    default=128,
    show_default=True,
    type=click.IntRange(3, 512),
    help="Number of tokens that costs are computed for.",
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
@hidden_option
@label_option
@augmentation_option
@training_options
def shrink(model: str, as_json: bool, **settings: Any) -> None:
    """Removes the least important parts of MODEL, so that it gets faster everywhere.

    \b
    tfedge shrink ./my-model --target-flops 0.5 --data texts.txt --output half
    tfedge shrink ./my-model --target-latency 0.5 --target rpi5 --remove heads \\
        --remove neurons --per-layer --data texts.txt --output fast
    tfedge convert half

    Feed-forward neurons, heads, layers and hidden channels are ranked by what the answers to
    --data would lose without them; labels are read only for --label-weight. What is left learns
    to answer as MODEL did. Where --remove allows layers or width, each number of them is tried
    and the one whose answers are nearest to MODEL's is taken. A killed run resumes when the same
    command is given again.
    """
    load_tensorflow()
    from tfedge.cli.summary import shrink_summary
    from tfedge.models.cost import load_costs
    from tfedge.models.hub import resolve
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.select import Space
    from tfedge.train.shrink import Goal
    from tfedge.train.shrink import shrink as run

    flops, latency = settings.pop("target_flops"), settings.pop("target_latency")
    if (flops is None) == (latency is None):
        raise click.UsageError("give one of --target-flops and --target-latency")
    remove = frozenset(settings.pop("remove") or ("neurons",))
    goal = Goal(
        flops or latency,
        Space(remove, uniform=not settings.pop("per_layer")),
        settings.pop("seq_len"),
        load_costs(settings.pop("board") or "rpi4"),
        "flops" if flops else "instructions",
    )
    source, losses = resolve(model), take(DistillationLosses, settings)
    augmentation = settings.pop("augmentation")
    request = training_request(
        model, source.folder, settings, source.task, steps_per_checkpoint=100
    )
    echo_report(run(request, goal, losses, augmentation), as_json, shrink_summary)
