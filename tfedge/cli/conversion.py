"""Commands from a checkpoint to one .tflite or to another runtime, and what can be converted."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfedge import files
from tfedge.cli.options import (
    NEW,
    PATH,
    RUNTIME,
    SEED,
    TOKENS,
    board_option,
    columns,
    echo_report,
    take,
    task_option,
)
from tfedge.cli.summary import conversion_summary, models_summary
from tfedge.quiet import load_tensorflow
from tfedge.records import as_json
from tfedge.runtime.machine import peak_rss_bytes
from tfedge.targets import target_names

if TYPE_CHECKING:
    from tfedge.conversion.result import Conversion
    from tfedge.errors import TfedgeError

_MOST_DIGITS = 18  # of a number of texts; Python reads no more than 4300
_QUANTIZATIONS = ["int8", "int8-float-io", "auto", "mixed", "int16x8", "dynamic", "int4"]
_QUANTIZATIONS += ["float16", "float32"]


def _lengths(_: Any, option: Any, value: str | None) -> tuple[int, ...] | None:
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
            f"{value!r}; give lengths of 3 to 512 with commas between, or none"
        )
    return lengths


def _limit(_: Any, option: Any, value: str) -> int | None:
    """A number of texts from what a user typed, None for all."""
    if value != "all" and not (value.isdecimal() and len(value) <= _MOST_DIGITS):
        raise click.BadParameter(f"{value!r}; give a number of texts, or all")
    return None if value == "all" else int(value) or None


def _labels(_: Any, __: Any, value: str) -> tuple[str, ...]:
    return tuple(label.strip() for label in value.split(",")) if value.strip() else ()


def _precisions(_: Any, option: Any, values: tuple[str, ...]) -> dict[str, str] | None:
    """Rules from what a user typed."""
    rules = dict(value.rpartition("=")[::2] for value in values)
    for what, how in rules.items():
        if not what or how not in ("int8", "dynamic", "float"):
            raise click.BadParameter(f"{what}={how}; give WHAT=int8, WHAT=dynamic or WHAT=float")
    return rules or None


@click.command()
@click.argument("model")
@click.option(
    "--quant",
    "quantization",
    type=click.Choice(_QUANTIZATIONS),
    help="int8: integers only, outputs included; int8-float-io: the same with float outputs; auto: "
    "the fastest mixture of integers, dynamic and float that keeps --max-drop, or float16 where none "
    "does, by what is measured to be lost and the estimated milliseconds on the target's board (for "
    "LiteRT; else by counted instructions, with a note); "
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
    type=click.Choice(target_names()),
    help="The board: chooses the runtime, the mode, and whose time auto goes by. edgetpu: a graph "
    "made of operations in the Edge TPU compiler's table, checked and, if the compiler is installed, "
    "compiled; edgetpu-plain: the same with BATCH_MATMUL and SOFTMAX; mediapipe: a file that "
    "MediaPipe's TextClassifier or TextEmbedder runs as it is (one graph, float outputs).",
)
@click.option(
    "--seq-len",
    "sequence_length",
    type=TOKENS,
    help="Tokens of the graph; default: the preset's, else 128, and no more than the tokeniser's "
    "model_max_length.",
)
@click.option(
    "--buckets",
    callback=_lengths,
    metavar="N,N,...|none",
    help="Lengths of shorter graphs in the same file, sharing all weights: a text runs in the "
    "shortest graph that holds it. Default: the preset's, else 16,24,32,48,64, of at most 6 layers and "
    "384 channels every 4 from 12 to 40, and 48,56,64.",
)
@task_option
@click.option(
    "--labels",
    default="",
    callback=_labels,
    metavar="LABEL,LABEL,...",
    help="Of a CLIP or SigLIP: what images are told apart by, in words. Its text tower makes a "
    "classifier of them, and the board needs none.",
)
@click.option(
    "--template",
    metavar="TEXT",
    help='What is written under an image, with {} for a label (default: "This is a photo of {}.").',
)
@click.option(
    "--calibration",
    help="File of texts like those the model will see; 200 of them, drawn at random, of each label its "
    "share, choose the integers' ranges, unless tfedge qad has done so, and the rounding of int4. "
    "Default: sentences that come with tfedge. For an image model, which has no default: a folder with "
    "a sub-folder for each label, or a table with the columns image and label; 64 images are used.",
)
@click.option(
    "--eval",
    "evaluation",
    help="Labelled file, or folder of images, on which the loss is measured. Default: the texts "
    "that calibration does not use.",
)
@columns
@click.option(
    "--eval-limit",
    "evaluation_limit",
    default="1000",
    callback=_limit,
    metavar="N|all",
    help="Measure on so many of the texts, drawn at random, of each label its share; always the same. "
    "all, or 0: on all of them.",
)
@click.option(
    "--runtime",
    type=RUNTIME,
    help="What the board runs. Default: the target's, else tflite-runtime where it is "
    "installed, as it can be for Python up to 3.11, else litert.",
)
@board_option
@click.option(
    "--max-drop",
    type=float,
    help="Points that may be lost against float: of accuracy where there are labels, else of answers "
    "that differ; of embeddings, hundredths of the mean cosine, or with pairs and scores of the rank "
    "correlation. At D points, embeddings must also keep "
    "a least cosine of 1 - 0.075 D, a rank correlation of all similarities of 1 - 0.015 D, and the "
    "nearest neighbours of a share of 1 - 0.3 sqrt(D) of the texts. A loss of labels that chance could "
    "make of so few texts only warns. Default: 1, for embeddings 2.",
)
@click.option(
    "--output",
    default="saved_models",
    type=PATH,
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
    tfedge convert ./my-clip --labels "a cat,a dog" --calibration images/
    tfedge convert minilm --quant dynamic --runtime litert
    tfedge convert minilm --target rpi5 --quant auto --max-drop 0.5
    tfedge convert tinybert --target rpi5 --board pi@raspberrypi
    tfedge convert tinybert --target edgetpu

    The result is run in the runtime it is made for, in a process of its own, here or with --board on
    that board. If it crashes there or
    loses more than --max-drop, it is kept with the suffix .rejected, and the exit code is 5.
    Without the Edge TPU's compiler, --target edgetpu leaves the model uncompiled; the exit code is 4.
    """
    report, failure = run_conversion(model, settings)
    echo_report(report, prints_json, conversion_summary)
    if failure is not None:
        raise failure


def run_conversion(model: str, settings: dict[str, Any]) -> tuple[Conversion, TfedgeError | None]:
    """Does what `convert` does, with its options; gives, too, why no Edge TPU's file was compiled."""
    from tfedge.cli.given import check_conversion
    from tfedge.conversion.asked import ConvertOptions
    from tfedge.tasks.columns import ColumnNames

    started = time.monotonic()
    options = ConvertOptions(columns=take(ColumnNames, settings), **settings)
    check_conversion(model, options)
    load_tensorflow()
    from tfedge.conversion.convert import convert as run
    from tfedge.conversion.result import Effort
    from tfedge.progress import ProgressBar

    report = run(model, options, ProgressBar)
    failure = None
    if report.quantization.graph.startswith("edgetpu"):
        from tfedge.edgetpu.compile import deliver

        delivery, failure = deliver(report.path)
        report = dataclasses.replace(report, edgetpu=delivery)
        files.write_json(report.path.with_suffix(".json"), as_json(report))
    effort = Effort(time.monotonic() - started, peak_rss_bytes())
    return dataclasses.replace(report, effort=effort), failure


@click.command()
@click.argument("model")
@click.option(
    "--format",
    required=True,
    type=click.Choice(["saved-model", "onnx"]),
    help="saved-model: TensorFlow's, with the signature serving_default; onnx: model.onnx, for "
    "TensorRT or ONNX Runtime (pip install 'tf2onnx>=1.17,<2' onnxruntime).",
)
@click.option("--output", required=True, type=NEW, help="Folder to write.")
@click.option(
    "--seq-len",
    "sequence_length",
    type=TOKENS,
    help="Tokens of the one text that goes in; default: the preset's, else 128. Not for images.",
)
@click.option(
    "--dynamic",
    is_flag=True,
    help="Accept any number of texts and tokens, or of images. TensorRT then needs a profile of "
    "shapes; static shapes are faster there.",
)
@task_option
@click.option(
    "--opset",
    default=13,
    type=click.IntRange(13, 18),
    help="ONNX's operators; 13 is the newest that TensorRT 8.2, the Jetson Nano's last, reads.",
)
@click.option("--force", is_flag=True, help="Replace an existing --output.")
@click.option("--json", "prints_json", is_flag=True, help="Print the whole report.")
def export(model: str, prints_json: bool, **settings: Any) -> None:
    """Exports the float32 model of MODEL for other runtimes, with its tokeniser.

    \b
    tfedge export tinybert --format onnx --seq-len 64 --output tinybert-onnx
    trtexec --onnx=tinybert-onnx/model.onnx --fp16       on a Jetson
    tfedge export ./my-checkpoint --format saved-model --dynamic --output my-saved-model

    An image model takes pixel_values, red, green and blue from 0 to 255, (1, height, width, 3): its
    normalisation is in the weights.

    Before the export gets its name, it is loaded, run on sentences that come with tfedge (or on noise
    for images), and compared with Keras; if it differs by more than 1e-4, it is not kept, and the exit
    code is 5.
    """
    from tfedge.cli.given import check_reader, opened

    source, task = opened(model, settings["task"])
    check_reader(source.folder, task.name)
    load_tensorflow()
    from tfedge.conversion.export import ExportOptions
    from tfedge.conversion.export import export as run
    from tfedge.progress import ProgressBar

    report = run(model, ExportOptions(**settings), ProgressBar)
    echo_report(
        report,
        prints_json,
        lambda found: (
            f"{settings['output']}  {found.format}, {found.task}, {_shape(found.inputs)}\n"
            f"  against Keras: largest difference {found.largest_difference:.1e}"
        ),
    )


def _shape(inputs: Mapping[str, Sequence[str | int | None]]) -> str:
    """What goes in, in words."""
    _, batch, *sizes = next(iter(inputs.values()))
    if len(sizes) > 1:
        height, width, _ = sizes
        return f"{'any images' if batch is None else 'an image'} of {height} x {width} pixels"
    return "any texts, any tokens" if batch is None else f"{sizes[0]} tokens"


@click.command()
@click.option("--seq-len", default=128, type=TOKENS, help="Number of tokens to count FLOPs for.")
@click.option("--json", "prints_json", is_flag=True, help="Print one JSON object a line.")
def models(seq_len: int, prints_json: bool) -> None:
    """Lists the presets: their sizes, operations, and where their weights come from."""
    from tfedge.measure.catalogue import catalogue

    rows = catalogue(seq_len)
    click.echo(
        "\n".join(json.dumps(as_json(row)) for row in rows)
        if prints_json
        else models_summary(rows, seq_len)
    )


@click.command()
@click.argument("preset")
@click.argument("folder", type=PATH)
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkpoint to copy the tokeniser from, e.g. saved_models/tinybert. Text models need one, "
    "image models have none.",
)
@click.option("--seed", default=0, type=SEED)
def init(preset: str, folder: Path, tokenizer: Path | None, seed: int) -> None:
    """Writes a checkpoint of PRESET with random weights to FOLDER.

    \b
    tfedge init tinybert FOLDER --tokenizer saved_models/tinybert
    tfedge init deit-tiny FOLDER

    Use it to measure what an architecture costs, or to train it; its answers mean nothing.
    """
    from tfedge.presets import load_preset

    settings = load_preset(preset)
    load_tensorflow()
    from tfedge.models.checkpoint import initialize

    initialize(settings, folder, tokenizer, seed)
    click.echo(str(folder))
