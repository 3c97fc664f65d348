"""Commands that train a checkpoint, or make it smaller and train what is left."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from tfedge.cli import options
from tfedge.cli.options import PATH, TOKENS, echo_report, take, training_data, training_request
from tfedge.cli.summary import pruning_summary, qad_summary, shrink_summary
from tfedge.quiet import load_tensorflow

RATIO = click.FloatRange(0, 1, min_open=True, max_open=True)
# A model that learns from what it was before; tfedge distil has the same ones between others.
imitation = options.together(
    options.steps, options.temperature, options.hidden, options.labels, options.augmentation
)


@click.command()
@click.argument("model")
@click.option(
    "--labels",
    help="Comma-separated names of the labels; default: those in the data. Where the checkpoint's are "
    "the same, in any order, its head is trained on, else a new one.",
)
@options.float_training
@options.training
def finetune(model: str, labels: str | None, as_json: bool, **settings: Any) -> None:
    """Trains a text classifier, with one label a text, from an encoder.

    \b
    tfedge finetune minilm --data train.tsv --eval dev.tsv --output ./mine
    tfedge convert ./mine --calibration train.tsv --eval dev.tsv

    A killed run resumes when the same command is given again. All GPUs of the machine are used; with
    TF_CONFIG in the environment, the same command on each of its workers trains one model together
    (--batch-size is that of all, --output on a file system that they share). So does distil.
    """
    from tfedge.tasks.columns import label_names

    data = training_data(model, settings, labelled=True)
    names = [name.strip() for name in labels.split(",")] if labels else []
    names = names or label_names(data.texts.labels or (), data.texts.source)
    data.texts.label_ids(names)  # refused before TensorFlow is loaded
    load_tensorflow()
    from tfedge.train.finetune import finetune as run

    request = training_request(data, settings)
    accuracy = run(request, names)
    _echo_accuracy(request.output, accuracy, as_json)


@click.command()
@click.argument("preset")
@click.option(
    "--teacher",
    required=True,
    type=PATH,
    help="Folder of a fine-tuned text classifier of the BERT family.",
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
@options.training
def distil(preset: str, teacher: Path, cache: Path | None, as_json: bool, **settings: Any) -> None:
    """Trains the small model of PRESET on the answers of a larger teacher.

    \b
    tfedge distil tinybert --teacher ./mine --data train.tsv --eval dev.tsv --output ./small

    The student starts from the teacher's own weights, cut to size, and learns the teacher's
    logits and hidden states. Its layer i of n learns the hidden states of the teacher's layer
    i * N / n of N (4 of 6: 1, 3, 4, 6), and with --relation-weight its last layer the relations of
    one layer. A killed run resumes when the same command is given again.
    """
    from tfedge.presets import load_preset

    student = load_preset(preset).config
    data = training_data(preset, settings, teacher)
    load_tensorflow()
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.distil import distil as run

    losses, augmentation = take(DistillationLosses, settings), settings.pop("augmentation")
    request = training_request(data, settings)
    accuracy = run(request, student, losses, augmentation, cache)
    _echo_accuracy(request.output, accuracy, as_json)


def _echo_accuracy(output: Path, accuracy: float | None, as_json: bool) -> None:
    measured = f"\taccuracy {accuracy:.4f}" if accuracy is not None else ""
    report = {"output": str(output), "accuracy": accuracy}
    echo_report(report, as_json, lambda _: f"{output}{measured}", indent=None)


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
    data = training_data(model, settings)
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
    report = run(request, losses, load_target(target).graph if target else INTEGER)
    echo_report(report, as_json, qad_summary)


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
    echo_report(run(request, pruning, losses, folder, *augmenting), as_json, pruning_summary)


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
    help="Instead: share of the int8 instructions on --target that may be left.",
)
@click.option(
    "--target",
    "board",
    type=click.Choice(["rpi4", "rpi5"]),
    help="The board whose instructions are predicted. Default: rpi4.",
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
    flops, latency = settings.pop("target_flops"), settings.pop("target_latency")
    if (flops is None) == (latency is None):
        raise click.UsageError("give one of --target-flops and --target-latency")
    data = training_data(model, settings)
    load_tensorflow()
    from tfedge.models.cost import load_costs
    from tfedge.train.distil import DistillationLosses
    from tfedge.train.select import Space
    from tfedge.train.shrink import Goal
    from tfedge.train.shrink import shrink as run

    remove = frozenset(settings.pop("remove") or ("neurons",))
    goal = Goal(
        flops or latency,
        Space(remove, uniform=not settings.pop("per_layer")),
        settings.pop("seq_len"),
        load_costs(settings.pop("board") or "rpi4"),
        "flops" if flops else "instructions",
    )
    losses, augmentation = take(DistillationLosses, settings), settings.pop("augmentation")
    request = training_request(data, settings, steps_per_checkpoint=100)
    echo_report(run(request, goal, losses, augmentation), as_json, shrink_summary)
