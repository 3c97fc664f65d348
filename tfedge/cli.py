"""The `tfedge` program: parses, calls one function, prints."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from tfedge import __version__
from tfedge.errors import MissingPackageError, TfedgeError
from tfedge.quiet import load_tensorflow


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tfedge")
def main() -> None:
    """Turns BERT-like checkpoints into TFLite models for small boards.

    \b
    tfedge models                       what can be named
    tfedge convert tinybert             checkpoint -> one .tflite, measured
    tfedge shrink X --target-flops 0.5 --data texts.txt --output Y      checkpoint -> a faster one
    tfedge eval --model X.tflite --data dev.tsv
    tfedge bench X.tflite Y.tflite --data dev.tsv
    tfedge inspect X.tflite             what a file holds, costs and loses
    tfedge edgetpu check X.tflite       what of it a Coral Edge TPU would run
    tfedge-infer --model X.tflite "a fine film"      on the board

    MODEL is a name that `tfedge models` lists, a folder with a Hugging Face checkpoint, or the
    id of one on the hub. Exit codes: 0 done, 1 error, 2 usage, 3 unusable input, 4 a package or
    runtime is missing, 5 the converted model was rejected.
    """


def _training_options(function: Any) -> Any:
    for option in reversed(
        (
            click.option(
                "--data",
                required=True,
                help="Training texts: a TSV, CSV or JSONL file with columns text and label (TXT "
                "where no labels are needed), or a data set id on the Hugging Face hub.",
            ),
            click.option("--eval", "evaluation", help="Held-out texts to measure on."),
            click.option(
                "--output", required=True, type=click.Path(path_type=Path), help="Folder to write."
            ),
            click.option("--epochs", default=3, show_default=True, type=click.IntRange(1)),
            click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1)),
            click.option(
                "--learning-rate",
                default=5e-5,
                show_default=True,
                help="Peak; linear warm-up and decay.",
            ),
            click.option(
                "--max-length",
                default=64,
                show_default=True,
                type=click.IntRange(8, 512),
                help="Tokens of a text; longer ones are cut.",
            ),
            click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1)),
            click.option("--force", is_flag=True, help="Replace an existing --output."),
        )
    ):
        function = option(function)
    return function


@main.command()
@click.argument("model")
@click.option("--labels", help="Comma-separated names of the labels; default: those in the data.")
@_training_options
def finetune(
    model: str,
    labels: str | None,
    data: str,
    evaluation: str | None,
    output: Path,
    force: bool,
    **settings: Any,
) -> None:
    """Trains a text classifier from an encoder.

    A killed run resumes when the same command is given again.
    """
    load_tensorflow()
    from tfedge.compress.finetune import finetune as run
    from tfedge.compress.training import TrainingOptions
    from tfedge.data.hub import read_data
    from tfedge.models.hub import resolve
    from tfedge.progress import ProgressBar, training_report

    texts = read_data(data, "train")
    given = [name.strip() for name in labels.split(",")] if labels else None
    names = given or sorted(set(texts.labels or ()))
    options = TrainingOptions(**settings)
    held_out = read_data(evaluation, "validation") if evaluation else None
    source = resolve(model).folder
    steps = options.epochs * -(-len(texts) // options.batch_size)
    with ProgressBar(f"fine-tuning {model}", steps) as bar:
        report = training_report(bar)
        accuracy = run(source, texts, names, output, options, report, held_out, force)
    click.echo(f"{output}" + (f"\taccuracy {accuracy:.4f}" if accuracy is not None else ""))


@main.command()
@click.argument("recipe")
@click.option(
    "--teacher",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of a fine-tuned text classifier of the BERT family.",
)
@click.option("--temperature", default=2.0, show_default=True, help="Divides both models' logits.")
@click.option(
    "--hidden-weight", default=1.0, show_default=True, help="Weight of the hidden states' distance."
)
@click.option(
    "--label-weight", default=0.0, show_default=True, help="Weight of the data's own labels."
)
@click.option(
    "--augmentation",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of batches in which words are replaced by similar ones.",
)
@_training_options
def distil(
    recipe: str,
    teacher: Path,
    temperature: float,
    hidden_weight: float,
    label_weight: float,
    augmentation: float,
    data: str,
    evaluation: str | None,
    output: Path,
    force: bool,
    **settings: Any,
) -> None:
    """Makes the small model of RECIPE out of a larger teacher.

    The student starts from the teacher's own weights, cut to size, and learns the teacher's
    logits and hidden states. A killed run resumes when the same command is given again.
    """
    load_tensorflow()
    from tfedge.compress.distil import DistillationLosses
    from tfedge.compress.distil import distil as run
    from tfedge.compress.training import TrainingOptions
    from tfedge.data.hub import read_data
    from tfedge.progress import ProgressBar, training_report
    from tfedge.recipes import load_recipe

    config = load_recipe(recipe).config
    texts = read_data(data, "train")
    held_out = read_data(evaluation, "validation") if evaluation else None
    options = TrainingOptions(**settings)
    losses = DistillationLosses(temperature, hidden=hidden_weight, labels=label_weight)
    steps = options.epochs * -(-len(texts) // options.batch_size)
    with ProgressBar(f"distilling {recipe}", steps) as bar:
        report = training_report(bar)
        accuracy = run(
            teacher, config, texts, output, options, losses, report, held_out, augmentation, force
        )
    click.echo(f"{output}" + (f"\taccuracy {accuracy:.4f}" if accuracy is not None else ""))


@main.command()
@click.argument("model")
@click.option("--steps", type=click.IntRange(1), help="Batches in all, in place of --epochs.")
@click.option("--temperature", default=2.0, show_default=True, help="Divides both models' logits.")
@click.option(
    "--hidden-weight", default=1.0, show_default=True, help="Weight of the hidden states' distance."
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole report.")
@_training_options
def qad(
    model: str,
    temperature: float,
    hidden_weight: float,
    as_json: bool,
    data: str,
    evaluation: str | None,
    output: Path,
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
    from tfedge.compress.distil import DistillationLosses
    from tfedge.compress.training import TrainingOptions
    from tfedge.data.hub import read_data
    from tfedge.data.texts import package_texts
    from tfedge.models.hub import resolve
    from tfedge.progress import ProgressBar, training_report
    from tfedge.quantize.train import qad as run
    from tfedge.summary import qad_summary

    source = resolve(model)
    texts = read_data(data, "train")
    held_out = read_data(evaluation, "validation") if evaluation else package_texts()
    options = TrainingOptions(**settings, steps_per_checkpoint=100)
    losses = DistillationLosses(temperature, hidden=hidden_weight)
    task = source.recipe.task if source.recipe else None
    report = run(
        source.folder,
        texts,
        held_out,
        output,
        options,
        losses,
        ProgressBar,
        training_report,
        task,
        force,
    )
    click.echo(json.dumps(report, indent=2) if as_json else qad_summary(report))


@main.command()
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
    metavar="PATTERN[=SPARSITY]",
    help="Layers to prune, e.g. 'encoder.*' or '*.intermediate.dense=0.8'; may be repeated, the "
    "last that matches counts. Default: all dense layers but the head's last. Tables "
    "(embeddings.word_embeddings) hold most weights of a small model, but rows of words that the "
    "texts lack lose theirs with nothing to make up for it.",
)
@click.option(
    "--pattern",
    default="none",
    show_default=True,
    metavar="none|M:N|RxC",
    help="none: single weights; 2:4: two of each four inputs; 4x1: blocks of 4 inputs x 1 output.",
)
@click.option(
    "--schedule",
    type=click.Choice(["polynomial", "constant"]),
    default="polynomial",
    show_default=True,
    help="polynomial: in steps, ever smaller ones; constant: all at once.",
)
@click.option("--initial-sparsity", default=0.0, show_default=True, help="Where polynomial begins.")
@click.option("--begin-step", type=click.IntRange(0), help="First step that prunes. Default: 1.")
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
@click.option("--steps", type=click.IntRange(1), help="Batches in all, in place of --epochs.")
@click.option("--temperature", default=2.0, show_default=True, help="Divides both models' logits.")
@click.option(
    "--hidden-weight", default=1.0, show_default=True, help="Weight of the hidden states' distance."
)
@click.option(
    "--label-weight", default=0.0, show_default=True, help="Weight of the data's own labels."
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole report.")
@_training_options
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
    from tfedge.compress.distil import DistillationLosses
    from tfedge.compress.prune import prune as run
    from tfedge.compress.sparsity import PruningOptions
    from tfedge.compress.training import TrainingOptions
    from tfedge.data.hub import read_data
    from tfedge.models.hub import resolve
    from tfedge.progress import ProgressBar, training_report
    from tfedge.summary import pruning_summary

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
    output, force, as_json = (settings.pop(name) for name in ("output", "force", "as_json"))
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
            training_report(bar),
            resolve(teacher).folder if teacher else None,
            read_data(evaluation, "validation") if evaluation else None,
            source.recipe.task if source.recipe else None,
            force,
        )
    click.echo(json.dumps(report, indent=2) if as_json else pruning_summary(report))


@main.command()
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
@click.option("--steps", type=click.IntRange(1), help="Batches in all, in place of --epochs.")
@click.option("--temperature", default=2.0, show_default=True, help="Divides both models' logits.")
@click.option(
    "--hidden-weight", default=1.0, show_default=True, help="Weight of the hidden states' distance."
)
@click.option(
    "--label-weight", default=0.0, show_default=True, help="Weight of the data's own labels."
)
@click.option(
    "--augmentation",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of batches in which words are replaced by similar ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole report.")
@_training_options
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
    from tfedge.compress.distil import DistillationLosses
    from tfedge.compress.select import Space
    from tfedge.compress.shrink import Target
    from tfedge.compress.shrink import shrink as run
    from tfedge.compress.training import TrainingOptions
    from tfedge.data.hub import read_data
    from tfedge.models.cost import load_board
    from tfedge.models.hub import resolve
    from tfedge.progress import ProgressBar, training_report
    from tfedge.summary import shrink_summary

    flops, latency = settings.pop("target_flops"), settings.pop("target_latency")
    if (flops is None) == (latency is None):
        raise click.UsageError("give one of --target-flops and --target-latency")
    remove = frozenset(settings.pop("remove") or ("neurons",))
    target = Target(
        flops or latency,
        Space(remove, uniform=not settings.pop("per_layer")),
        settings.pop("seq_len"),
        load_board(settings.pop("board") or "rpi4"),
        "flops" if flops else "instructions",
    )
    losses = DistillationLosses(
        settings.pop("temperature"),
        hidden=settings.pop("hidden_weight"),
        labels=settings.pop("label_weight"),
    )
    source = resolve(model)
    texts, evaluation = read_data(settings.pop("data"), "train"), settings.pop("evaluation")
    output, force, as_json, augmentation = (
        settings.pop(name) for name in ("output", "force", "as_json", "augmentation")
    )
    report = run(
        source.folder,
        texts,
        output,
        target,
        TrainingOptions(**settings, steps_per_checkpoint=100),
        losses,
        ProgressBar,
        training_report,
        read_data(evaluation, "validation") if evaluation else None,
        source.recipe.task if source.recipe else None,
        augmentation,
        force,
    )
    click.echo(json.dumps(report, indent=2) if as_json else shrink_summary(report))


def _lengths(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Sequence lengths from what a user typed."""
    if value is None:
        return None
    if value == "none":
        return ()
    try:
        lengths = tuple(int(part) for part in value.split(","))
    except ValueError:
        lengths = (0,)
    if not all(3 <= length <= 512 for length in lengths):
        raise click.BadParameter(
            f"{value!r}; give lengths of 3 to 512 with commas between, or none", context, parameter
        )
    return lengths


def _precisions(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | None:
    """Rules from what a user typed."""
    rules = dict(value.rpartition("=")[::2] for value in values)
    for what, how in rules.items():
        if not what or how not in ("int8", "dynamic", "float"):
            raise click.BadParameter(
                f"{what}={how}; give WHAT=int8, WHAT=dynamic or WHAT=float", context, parameter
            )
    return rules or None


@main.command()
@click.argument("model")
@click.option(
    "--quant",
    type=click.Choice(["int8", "int8-float-io", "auto", "mixed", "dynamic", "float16", "float32"]),
    help="int8: integers only, outputs included; int8-float-io: the same with float outputs; auto: "
    "the fastest mixture of integers, dynamic and float that keeps --max-drop, found by measuring; "
    "mixed: the one that --precision says; dynamic: int8 weights. Default: the target's, the "
    "recipe's, else int8.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    callback=_precisions,
    metavar="WHAT=HOW",
    help="For --quant mixed: int8, dynamic or float for a kind of operation (dense, attention, "
    "norm, pooling) or a pattern of names, e.g. '*.output.dense=dynamic'; of several the last one "
    "counts. Default: norm=float.",
)
@click.option(
    "--target",
    type=click.Choice(["host", "jetson-nano", "rpi4", "rpi5"]),
    help="The board: picks runtime and mode, and what auto counts as fast.",
)
@click.option(
    "--seq-len",
    type=click.IntRange(3, 512),
    help="Tokens of the graph; default: the recipe's, else 128.",
)
@click.option(
    "--buckets",
    callback=_lengths,
    metavar="N,N,...|none",
    help="Lengths of shorter graphs in the same file: a text runs in the shortest that holds it. "
    "They share all weights. Default: the recipe's, else 16,32,64.",
)
@click.option(
    "--task",
    type=click.Choice(
        ["text-classification", "sentence-embedding", "token-classification", "question-answering"]
    ),
    help="Default: the recipe's, else what the checkpoint has a head for.",
)
@click.option(
    "--calibration",
    help="File of texts like those the model will see; the first 200 choose the ranges of int8, "
    "unless tfedge qad has. Default: the package's own sentences.",
)
@click.option(
    "--eval",
    "evaluation",
    help="Labelled file on which the loss is measured. Default: the calibration texts that are left.",
)
@click.option(
    "--runtime",
    type=click.Choice(["tflite-runtime", "litert"]),
    help="What the board runs. Default: the target's, else tflite-runtime.",
)
@click.option(
    "--max-drop", default=1.0, show_default=True, help="Points that may be lost against float."
)
@click.option(
    "--output",
    default="saved_models",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder in which a folder MODEL is made.",
)
@click.option(
    "--normalize/--no-normalize",
    default=None,
    help="Whether sentence embeddings have length 1; default: what the checkpoint's modules say.",
)
@click.option(
    "--keep-reference",
    is_flag=True,
    help="Also write MODEL_QUANT_reference.tflite, the same graph in float32, which "
    "`tfedge inspect --against` measures the error of every layer with.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole report.")
def convert(model: str, as_json: bool, **settings: Any) -> None:
    """Converts MODEL to one .tflite that holds all a board needs, and measures it.

    \b
    tfedge convert tinybert
    tfedge convert ./my-checkpoint --calibration texts.tsv --eval dev.tsv
    tfedge convert minilm --quant dynamic --runtime litert
    tfedge convert minilm --target rpi5 --quant auto --max-drop 0.5

    The result is run in the runtime it is meant for, in a process of its own. One that crashes
    there or loses more than --max-drop is kept under the suffix .rejected; the exit code is 5.
    """
    load_tensorflow()
    from tfedge.pipeline import ConvertOptions
    from tfedge.pipeline import convert as run
    from tfedge.progress import ProgressBar
    from tfedge.summary import conversion_summary

    options = ConvertOptions(
        quantization=settings["quant"],
        sequence_length=settings["seq_len"],
        buckets=settings["buckets"],
        task=settings["task"],
        calibration=settings["calibration"],
        evaluation=settings["evaluation"],
        runtime=settings["runtime"],
        target=settings["target"],
        precisions=settings["precisions"],
        normalize=settings["normalize"],
        max_drop=settings["max_drop"],
        output=settings["output"],
        keep_reference=settings["keep_reference"],
    )
    report = run(model, options, ProgressBar)
    click.echo(
        json.dumps(report, indent=2) if as_json else conversion_summary(report, options.output)
    )


@main.command(name="eval")
@click.option(
    "--model",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A converted .tflite, or a folder with a checkpoint.",
)
@click.option(
    "--data",
    required=True,
    help="TSV, CSV or JSONL with columns text and label, or a data set id on the hub.",
)
@click.option(
    "--against",
    type=click.Path(exists=True, path_type=Path),
    help="A second model, to count the answers that differ.",
)
@click.option(
    "--runtime",
    type=click.Choice(["tflite-runtime", "litert"]),
    help="Default: the first the model was verified on.",
)
@click.option("--threads", type=click.IntRange(1, 64), help="Threads of the runtime.")
@click.option("--limit", type=click.IntRange(1), help="Only the first so many texts.")
@click.option(
    "--python",
    help="Command of the Python that runs a .tflite, a board's for instance. Default: this one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    model: Path,
    data: str,
    against: Path | None,
    runtime: str | None,
    threads: int | None,
    limit: int | None,
    python: str | None,
    as_json: bool,
) -> None:
    """Measures a model on labelled texts: accuracy, macro F1, confusion, disagreement.

    \b
    tfedge eval --model saved_models/tinybert/tinybert_int8.tflite --data dev.tsv
    tfedge eval --model X_int8.tflite --against X_float32.tflite --data texts.txt
    tfedge eval --model saved_models/tinybert --data dev.tsv         (Keras, float32)
    """
    from tfedge.data.hub import read_data
    from tfedge.measure.board import Board
    from tfedge.measure.evaluate import evaluate as run
    from tfedge.progress import ProgressBar
    from tfedge.summary import evaluation_summary

    if any(path and path.is_dir() for path in (model, against)):
        load_tensorflow()
    texts = read_data(data, "validation")
    board = Board(Board.command(python), runtime, threads)
    result = run(model, against, texts.head(limit or len(texts)), board, ProgressBar)
    click.echo(json.dumps(result) if as_json else evaluation_summary(result))


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--signature", help="The graph to show, by its key; default: the file's first.")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="A float .tflite of the same layers; both run, and each layer's error is measured.",
)
@click.option(
    "--data",
    help="For --against: a file of texts, or an .npz with the model's inputs by name. "
    "Default: the package's own sentences.",
)
@click.option(
    "--texts",
    default=16,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="How many of them.",
)
@click.option(
    "--runtime",
    type=click.Choice(["tflite-runtime", "litert"]),
    help="For --against. Default: the first the model was verified on.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--html", type=click.Path(path_type=Path), help="Also write one self-contained page with plots."
)
def inspect(
    model: Path,
    signature: str | None,
    against: Path | None,
    data: str | None,
    texts: int,
    runtime: str | None,
    as_json: bool,
    html: Path | None,
) -> None:
    """Shows what any .tflite holds and costs, and where it loses against float.

    \b
    tfedge inspect saved_models/tinybert/tinybert_int8.tflite
    tfedge convert tinybert --keep-reference
    tfedge inspect X_int8.tflite --against X_int8_reference.tflite --html X.html

    Operators by type, dtype and version, float islands, ranges, the cost of each operator by its
    shapes. MODEL may be of any converter; nothing of it is run without --against.
    """
    from tfedge import files
    from tfedge.inspect.page import page
    from tfedge.inspect.report import InspectOptions
    from tfedge.inspect.report import inspect as run
    from tfedge.inspect.table import render
    from tfedge.progress import ProgressBar

    if against is None and (data or runtime):
        raise click.UsageError("--data and --runtime say how --against is measured; give that too")
    report = run(model, InspectOptions(signature, against, data, texts, runtime), ProgressBar)
    if html is not None:
        files.write_bytes(html, page(report).encode(errors="backslashreplace"))
    click.echo(json.dumps(report) if as_json else render(report))


@main.group()
def edgetpu() -> None:
    """What of a .tflite a Coral Edge TPU runs.

    \b
    tfedge edgetpu check X.tflite       predicted by the published rules, without the compiler
    tfedge edgetpu compile X.tflite     compiled by edgetpu_compiler and compared
    """


@edgetpu.command(name="check")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write one self-contained page.")
def edgetpu_check(model: Path, as_json: bool, html: Path | None) -> None:
    """Predicts, operator by operator, what Edge TPU compiler 16 makes of any .tflite.

    \b
    mapped     seen mapped in published logs or pairs of a model and its compiled form
    unproven   the table of supported operations allows it, nobody has shown it
    CPU        stays on the host, with the compiler's wording, the rule and its source

    Of a file that is compiled already, its edgetpu-custom-op and what is left are counted.
    Nothing is run. Exit code 0 whenever the file could be read, whatever is found.
    """
    from tfedge import files
    from tfedge.edgetpu.check import check as run
    from tfedge.edgetpu.page import page
    from tfedge.edgetpu.table import render

    report = run(model)
    if html is not None:
        files.write_bytes(html, page(report).encode(errors="backslashreplace"))
    click.echo(json.dumps(report) if as_json else render(report))


@edgetpu.command(name="compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), help="Default: X_edgetpu.tflite beside the model."
)
@click.option(
    "--timeout",
    default=180,
    show_default=True,
    type=click.IntRange(1, 86_400),
    help="Seconds that the compiler may take.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def edgetpu_compile(model: Path, output: Path | None, timeout: int, as_json: bool) -> None:
    """Compiles any .tflite with the vendor's edgetpu_compiler and compares with the prediction.

    The compiler is the one that EDGETPU_COMPILER names, else the one in PATH; it is not part of
    tfedge. Signatures, metadata and tokeniser, which it drops, are carried over. Exit code 4: there
    is no compiler, and the message says how to get it; 5: it failed, took too long or mapped
    nothing.
    """
    from tfedge.edgetpu.compile import compile_model
    from tfedge.summary import compilation_summary

    report = compile_model(model, output, timeout)
    click.echo(json.dumps(report) if as_json else compilation_summary(report))


@main.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL.tflite[@LENGTH]...")
@click.option(
    "--data",
    required=True,
    help="Texts: a TSV, CSV, JSONL or TXT file, or a data set id on the hub. With labels the "
    "accuracy is measured too.",
)
@click.option(
    "--peer",
    "peer_names",
    multiple=True,
    type=click.Choice(["onnxruntime-dynamic", "onnxruntime-float"]),
    help="What else answers, with the weights of --checkpoint; may be repeated. Dynamic: int8 "
    "weights. Each runs a text at its own length, in the fastest of the forms that its tools make.",
)
@click.option(
    "--checkpoint",
    metavar="MODEL",
    help="What the first model was converted from: a name, a folder or a hub id; for --peer.",
)
@click.option(
    "--peer-python",
    default=".venv-bench/bin/python",
    show_default=True,
    help="Python with torch and ONNX Runtime, which --peer needs: `make .venv-bench/.done`.",
)
@click.option(
    "--runtime",
    type=click.Choice(["tflite-runtime", "litert"]),
    help="Of the converted models. Default: the first each was verified on.",
)
@click.option(
    "--threads",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Threads of each contestant.",
)
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="How often each text is answered by each; its time is the median.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many texts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(
    models: tuple[str, ...],
    data: str,
    peer_names: tuple[str, ...],
    checkpoint: str | None,
    peer_python: str,
    limit: int | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Compares how fast models answer: times, accuracy, memory, size, start-up.

    \b
    tfedge bench X_int8.tflite@128 X_int8.tflite --data dev.tsv
        what the shorter graphs of a file save against its graph for 128 tokens
    tfedge bench X_int8.tflite X_float32.tflite --runtime litert --data dev.tsv \\
        --checkpoint X --peer onnxruntime-dynamic
        the same weights in other forms and in another runtime
    tfedge bench X_int8.tflite X_int8.tflite --data dev.tsv
        what this machine makes of twice the same

    Each answers one text at a time in a process of its own that stays alive; all take turns, a
    few texts each, so that whatever slows the machine down slows all of them. Read the ratios to
    the first model and their range over the rounds; milliseconds hold for this run alone.
    """
    from tfedge.data.hub import read_data
    from tfedge.measure.bench import BenchOptions
    from tfedge.measure.bench import bench as run
    from tfedge.progress import ProgressBar
    from tfedge.summary import bench_summary

    texts = read_data(data, "validation")
    options = BenchOptions(
        peers=peer_names, checkpoint=checkpoint, peer_python=peer_python, **settings
    )
    result = run(models, texts.head(limit or len(texts)), options, ProgressBar)
    click.echo(json.dumps(result) if as_json else bench_summary(result))


@main.command()
@click.option(
    "--seq-len",
    default=128,
    show_default=True,
    type=click.IntRange(3, 512),
    help="Tokens that FLOPs are given for.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def models(seq_len: int, as_json: bool) -> None:
    """Lists the models that have a name: sizes, operations and where their weights come from."""
    from tfedge.measure.catalogue import catalogue
    from tfedge.summary import models_summary

    rows = catalogue(seq_len)
    click.echo("\n".join(map(json.dumps, rows)) if as_json else models_summary(rows, seq_len))


@main.command()
@click.argument("recipe")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--tokenizer",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkpoint whose tokeniser is taken, e.g. saved_models/tinybert.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1))
def init(recipe: str, folder: Path, tokenizer: Path, seed: int) -> None:
    """Writes a checkpoint of RECIPE with random weights to FOLDER.

    For measuring what an architecture costs, or for training it; its answers mean nothing.
    """
    load_tensorflow()
    from tfedge.models.initialize import initialize
    from tfedge.recipes import load_recipe

    initialize(load_recipe(recipe), folder, tokenizer, seed)
    click.echo(str(folder))


def run() -> None:
    """The console entry point: an expected error is one line and its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the names of files may be no UTF-8
    try:
        main.main(prog_name="tfedge", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("tfedge: interrupted; the same command resumes or starts again", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except TfedgeError as error:
        click.echo(f"tfedge: {error}", err=True)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tfedge"):
            raise
        click.echo(f"tfedge: this needs more ({error}): pip install 'tfedge[convert]'", err=True)
        sys.exit(MissingPackageError.exit_code)
    except OSError as error:  # a full disk behind standard output, say
        click.echo(f"tfedge: {error}", err=True)
        sys.exit(TfedgeError.exit_code)


if __name__ == "__main__":
    run()
