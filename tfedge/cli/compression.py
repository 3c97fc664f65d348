"""Commands that make a checkpoint fit a board better, and train it to answer as before."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from tfedge.cli import options
from tfedge.cli.options import (
    TOKENS,
    echo_report,
    take,
    training_data,
    training_request,
)
from tfedge.cli.summary import pruning_summary, qad_summary, shrink_summary
from tfedge.quiet import load_tensorflow

if TYPE_CHECKING:
    from tfedge.train.prune import Pruning
    from tfedge.train.qad import Training
    from tfedge.train.shrink import Shrinking
RATIO = click.FloatRange(0, 1, min_open=True, max_open=True)
# A model that learns from what it was before; tfedge distil has the same ones between others.
imitation = options.together(
    options.steps, options.temperature, options.hidden, options.labels, options.augmentation
)


@click.command()
@click.argument("model")
@options.steps
@options.temperature
@options.hidden
@click.option(
    "--target",
    type=click.Choice(["edgetpu", "edgetpu-plain"]),
    help="Simulate the graph that `tfedge convert --target` makes, instead of the usual one.",
)
@options.training
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
    echo_report(run_qad(model, target, settings), as_json, qad_summary)


def run_qad(model: str, target: str | None, settings: dict[str, Any]) -> Training:
    """Does what `qad` does, with its options."""
    data = training_data(model, settings, judged=False)
    load_tensorflow()
    from tfedge.data.texts import package_texts
    from tfedge.targets import INTEGER, load_target
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.qad import qad as run

    losses = take(DistillationLosses, settings)
    request = training_request(data, settings, steps_per_checkpoint=100)
    if request.evaluation is None:
        own = package_texts().paired() if request.texts.are_pairs else package_texts()
        request = dataclasses.replace(request, evaluation=own)
    return run(request, losses, load_target(target).graph if target else INTEGER)


@click.command()
@click.argument("model")
@click.option(
    "--sparsity", default=0.5, help="Share of the weights of each pruned layer that become zero."
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
    metavar="none|M:N|RxC",
    help="none: single weights; 2:4: two of each four inputs; 4x1: blocks of 4 inputs x 1 output (in "
    "a table, 4 channels of a row), which are adjacent in the file: gzip saves more bytes than with "
    "single weights, but more accuracy is lost.",
)
@click.option(
    "--schedule",
    type=click.Choice(["polynomial", "constant"]),
    default="polynomial",
    help="polynomial: in steps that get smaller and smaller; constant: all at once.",
)
@click.option("--initial-sparsity", default=0.0, help="Sparsity at which polynomial begins.")
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
@imitation
@click.option(
    "--random-tokens",
    "random_share",
    default=0.0,
    type=click.FloatRange(0, 1),
    help="Share of batches in which half of the tokens are replaced by random ones, so that every "
    "row of a pruned table is trained.",
)
@options.float_training
@options.training
def prune(model: str, teacher: str | None, as_json: bool, **settings: Any) -> None:
    """Makes the smallest weights of MODEL zero, so that its file compresses better.

    \b
    tfedge prune tinybert --sparsity 0.5 --data texts.txt --output pruned
    tfedge convert pruned

    Meanwhile the model learns to answer as it did before; labels are only read for
    --label-weight. The zeros stay zeros in every .tflite, which takes as long as before: the
    gain is in what is downloaded or stored compressed. A killed run resumes when the same
    command is given again.
    """
    echo_report(run_pruning(model, teacher, settings), as_json, pruning_summary)


def run_pruning(model: str, teacher: str | None, settings: dict[str, Any]) -> Pruning:
    """Does what `prune` does, with its options."""
    from tfedge.cli.given import opened

    folder = opened(teacher)[0].folder if teacher else None
    data = training_data(model, settings)
    load_tensorflow()
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.prune import prune as run
    from tfedge.train.sparsity import PruningOptions

    settings["layers"] = settings["layers"] or None
    pruning, losses = take(PruningOptions, settings), take(DistillationLosses, settings)
    augmenting = [settings.pop(name) for name in ("augmentation", "random_share")]
    request = training_request(data, settings, steps_per_checkpoint=100)
    return run(request, pruning, losses, folder, *augmenting)


@click.command()
@click.argument("model")
@click.option(
    "--target-flops",
    type=RATIO,
    metavar="RATIO",
    help="Share of the encoder's floating-point operations that may be left, e.g. 0.5.",
)
@click.option(
    "--target-latency",
    type=RATIO,
    metavar="RATIO",
    help="Instead: share of the estimated time in int8 on --target that may be left.",
)
@click.option(
    "--target",
    "board",
    type=click.Choice(["rpi4", "rpi5", "jetson-nano"]),
    help="The board whose time is estimated. Default: rpi4.",
)
@click.option(
    "--seq-len", default=128, type=TOKENS, help="Number of tokens that costs are computed for."
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
@imitation
@options.training
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
    echo_report(run_shrinking(model, settings), as_json, shrink_summary)


def run_shrinking(model: str, settings: dict[str, Any]) -> Shrinking:
    """Does what `shrink` does, with its options."""
    flops, latency = settings.pop("target_flops"), settings.pop("target_latency")
    if (flops is None) == (latency is None):
        raise click.UsageError("give one of --target-flops and --target-latency")
    data = training_data(model, settings)
    load_tensorflow()
    from tfedge.models.cost import load_times
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.select import Space
    from tfedge.train.shrink import Goal
    from tfedge.train.shrink import shrink as run

    remove = frozenset(settings.pop("remove") or ("neurons",))
    goal = Goal(
        flops or latency,
        Space(remove, uniform=not settings.pop("per_layer")),
        settings.pop("seq_len"),
        load_times(settings.pop("board") or "rpi4"),
        "flops" if flops else "latency",
    )
    losses, augmentation = take(DistillationLosses, settings), settings.pop("augmentation")
    request = training_request(data, settings, steps_per_checkpoint=100)
    return run(request, goal, losses, augmentation)
