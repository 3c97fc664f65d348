"""Commands from a checkpoint to one .tflite, and what can be converted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from tfedge import files
from tfedge.cli.options import echo_report, task_option
from tfedge.quiet import load_tensorflow


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


@click.command()
@click.argument("model")
@click.option(
    "--quant",
    type=click.Choice(
        [
            "int8",
            "int8-float-io",
            "auto",
            "mixed",
            "int16x8",
            "dynamic",
            "int4",
            "float16",
            "float32",
        ]
    ),
    help="int8: integers only, outputs included; int8-float-io: the same with float outputs; auto: "
    "the fastest mixture of integers, dynamic and float that keeps --max-drop, found by measuring; "
    "mixed: the mixture given by --precision; int16x8: 16-bit integers with int8 weights, the most "
    "exact and the slowest, for LiteRT; dynamic: int8 weights, everything else in float; int4: as "
    "dynamic, with 4-bit dense weights, the smallest file; float16: as dynamic, with float16 weights. "
    "Default: the target's, the preset's, else int8.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    callback=_precisions,
    metavar="WHAT=HOW",
    help="For --quant mixed: int8, dynamic or float for a kind of operation (dense, attention, "
    "norm, pooling) or a pattern of names, e.g. '*.output.dense=dynamic'; the last match "
    "counts. Default: norm=float.",
)
@click.option(
    "--target",
    type=click.Choice(
        ["edgetpu", "edgetpu-plain", "host", "jetson-nano", "mediapipe", "rpi4", "rpi5"]
    ),
    help="The board: chooses the runtime, the mode, and what auto counts as fast. edgetpu: a graph "
    "made of operations in the Edge TPU compiler's table, checked and, if the compiler is installed, "
    "compiled; edgetpu-plain: the same with BATCH_MATMUL and SOFTMAX; mediapipe: a file that "
    "MediaPipe's TextClassifier or TextEmbedder runs as it is (one graph, float outputs).",
)
@click.option(
    "--seq-len",
    type=click.IntRange(3, 512),
    help="Tokens of the graph; default: the preset's, else 128.",
)
@click.option(
    "--buckets",
    callback=_lengths,
    metavar="N,N,...|none",
    help="Lengths of shorter graphs in the same file, sharing all weights: a text runs in the "
    "shortest graph that holds it. Default: the preset's, else 16,24,32,48,64.",
)
@task_option
@click.option(
    "--calibration",
    help="File of texts like those the model will see; the first 200 choose the integers' "
    "ranges, unless tfedge qad has done so, and the rounding of int4. Default: sentences that come "
    "with tfedge. For an image model, which has no default: a folder with a sub-folder for each "
    "label, or a table with the columns image and label; the first 64 images are used.",
)
@click.option(
    "--eval",
    "evaluation",
    help="Labelled file, or folder of images, on which the loss is measured. Default: the texts "
    "that calibration does not use.",
)
@click.option(
    "--runtime",
    type=click.Choice(["tflite-runtime", "litert"]),
    help="What the board runs. Default: the target's, else tflite-runtime.",
)
@click.option(
    "--max-drop",
    type=float,
    help="Points that int8 may lose against float. Default: the preset's (minilm 2), else 1.",
)
@click.option(
    "--output",
    default="saved_models",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder in which the folder MODEL is created.",
)
@click.option(
    "--normalize/--no-normalize",
    default=None,
    help="Whether sentence embeddings are normalised to length 1; default: as the checkpoint says.",
)
@click.option(
    "--weight-bits",
    default=8.0,
    show_default=True,
    type=click.FloatRange(4, 8),
    help="Bits of the values that weights may take, in int8, mixed and auto; 5.5, for example, "
    "allows 43 values. They are still stored in 8 bits and run as fast, but compress better: 6 bits "
    "save about as much as making half of the weights zero.",
)
@click.option(
    "--keep-reference",
    is_flag=True,
    help="Also write MODEL_QUANT_reference.tflite, the same graph in float32, which "
    "`tfedge inspect --against` measures the error of every layer with.",
)
@click.option("--json", "prints_json", is_flag=True, help="Print the whole report.")
def convert(model: str, prints_json: bool, **settings: Any) -> None:
    """Converts MODEL to one .tflite that holds all a board needs, and measures it.

    \b
    tfedge convert tinybert
    tfedge convert ./my-checkpoint --calibration texts.tsv --eval dev.tsv
    tfedge convert ./my-deit --calibration images/ --eval images_dev/
    tfedge convert minilm --quant dynamic --runtime litert
    tfedge convert minilm --target rpi5 --quant auto --max-drop 0.5
    tfedge convert tinybert --target edgetpu

    The result is run in the runtime it is made for, in a process of its own. If it crashes there or
    loses more than --max-drop, it is kept with the suffix .rejected, and the exit code is 5.
    Without the Edge TPU's compiler, --target edgetpu leaves the model uncompiled; the exit code is 4.
    """
    load_tensorflow()
    from tfedge.cli.summary import conversion_summary
    from tfedge.convert.convert import ConvertOptions
    from tfedge.convert.convert import convert as run
    from tfedge.progress import ProgressBar
    from tfedge.records import as_json

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
        weight_bits=settings["weight_bits"],
    )
    report = run(model, options, ProgressBar)
    failure = None
    if report.quantization.graph.startswith("edgetpu"):
        from tfedge.edgetpu.deliver import deliver

        path = options.output / report.model / report.file
        delivery, failure = deliver(path)
        report = dataclasses.replace(report, edgetpu=delivery)
        files.write_json(path.with_suffix(".json"), as_json(report))
    echo_report(report, prints_json, lambda found: conversion_summary(found, options.output))
    if failure is not None:
        raise failure


@click.command()
@click.option(
    "--seq-len",
    default=128,
    show_default=True,
    type=click.IntRange(3, 512),
    help="Number of tokens to count FLOPs for.",
)
@click.option("--json", "prints_json", is_flag=True, help="Print one JSON object a line.")
def models(seq_len: int, prints_json: bool) -> None:
    """Lists the presets: their sizes, operations, and where their weights come from."""
    from tfedge.cli.summary import models_summary
    from tfedge.measure.catalogue import catalogue
    from tfedge.records import as_json

    rows = catalogue(seq_len)
    click.echo(
        "\n".join(json.dumps(as_json(row)) for row in rows)
        if prints_json
        else models_summary(rows, seq_len)
    )


@click.command()
@click.argument("preset")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkpoint to copy the tokeniser from, e.g. saved_models/tinybert. Text models need one, "
    "image models have none.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1))
def init(preset: str, folder: Path, tokenizer: Path | None, seed: int) -> None:
    """Writes a checkpoint of PRESET with random weights to FOLDER.

    \b
    tfedge init tinybert FOLDER --tokenizer saved_models/tinybert
    tfedge init deit-tiny FOLDER

    Use it to measure what an architecture costs, or to train it; its answers mean nothing.
    """
    load_tensorflow()
    from tfedge.models.initialize import initialize
    from tfedge.presets import load_preset

    initialize(load_preset(preset), folder, tokenizer, seed)
    click.echo(str(folder))
