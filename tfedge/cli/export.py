"""The command that hands the float model to other runtimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tfedge.cli.options import echo_report, task_option
from tfedge.quiet import load_tensorflow


@click.command()
@click.argument("model")
@click.option(
    "--format",
    required=True,
    type=click.Choice(["saved-model", "onnx"]),
    help="saved-model: TensorFlow's, with the signature serving_default; onnx: model.onnx, for "
    "TensorRT or ONNX Runtime (pip install 'tfedge[onnx]').",
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option(
    "--seq-len",
    "sequence_length",
    type=click.IntRange(3, 512),
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
    show_default=True,
    type=click.IntRange(13, 18),
    help="ONNX's operators; 13 is the newest that TensorRT 8.2, the Jetson Nano's last, reads.",
)
@click.option("--force", is_flag=True, help="Replace an existing --output.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report.")
def export(model: str, as_json: bool, **settings: Any) -> None:
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
    load_tensorflow()
    from tfedge.convert.export import ExportOptions
    from tfedge.convert.export import export as run
    from tfedge.progress import ProgressBar

    report = run(model, ExportOptions(**settings), ProgressBar)
    echo_report(
        report,
        as_json,
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
