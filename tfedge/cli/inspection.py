"""Commands that look into a .tflite: inspect and edgetpu."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tfedge import files
from tfedge.cli.options import NEW, PATH, RUNTIME, board_option, echo_report, remote_of
from tfedge.cli.summary import compilation_summary


@click.command(name="inspect")
@click.argument("model", type=PATH)
@click.option("--signature", help="The graph to show, by its key; default: the file's first.")
@click.option(
    "--against",
    type=PATH,
    help="A float .tflite with the same layers: both are run, and the error of each layer is measured.",
)
@click.option(
    "--outliers",
    is_flag=True,
    help="Name the channels (neurons) and tokens of each float layer that reach far beyond the others, "
    "and what rounding it to 8 bits costs. Of an int8 MODEL, give the float one with --against.",
)
@click.option(
    "--data",
    help="For --against, --outliers and --time: a file of texts, or an .npz with the model's "
    "inputs by name. Default: sentences that come with tfedge. For an image model: a folder of images.",
)
@click.option(
    "--texts",
    "rows",
    default=16,
    type=click.IntRange(1, 10_000),
    help="How many of the texts to run.",
)
@click.option(
    "--runtime",
    type=RUNTIME,
    help="For --against, --outliers and --time. Default: the first one the model was verified on.",
)
@click.option(
    "--time",
    "is_timed",
    is_flag=True,
    help="Measure how long each part takes (embeddings, each layer's attention and the rest of it, "
    "head), with the runtime's own kernels.",
)
@click.option(
    "--rounds",
    default=50,
    type=click.IntRange(1, 100_000),
    help="For --time: how often each part runs; its time is the median.",
)
@click.option(
    "--threads", default=1, type=click.IntRange(1, 64), help="For --time: threads of the runtime."
)
@board_option
@click.option("--json", "prints_json", is_flag=True, help="Print one JSON object.")
@click.option("--html", type=NEW, help="Also write one self-contained page with plots.")
def inspect_model(
    model: Path, is_timed: bool, rounds: int, prints_json: bool, html: Path | None, **settings: Any
) -> None:
    """Shows what any .tflite holds and costs, and where it loses against float.

    \b
    tfedge inspect saved_models/tinybert/tinybert_int8.tflite
    tfedge convert tinybert --keep-reference
    tfedge inspect X_int8.tflite --against X_int8_reference.tflite --html X.html
    tfedge inspect X_int8.tflite --time
    tfedge inspect X_int8.tflite --time --board pi@raspberrypi
    tfedge inspect X_float32.tflite --outliers

    It lists operators by type, dtype and version, float islands, ranges, and the cost of each operator
    by its shapes. MODEL may come from any converter; it is only run with --against,
    --outliers or --time.
    """
    from tfedge.inspect.report import InspectOptions
    from tfedge.inspect.report import inspect as run
    from tfedge.inspect.table import page, render
    from tfedge.progress import ProgressBar
    from tfedge.show.draw import renderer

    board = settings.pop("board")
    if board is not None and not is_timed:
        raise click.UsageError("--board says where --time is measured; give that too")
    remote = remote_of(board)
    options = InspectOptions(time_rounds=rounds if is_timed else 0, remote=remote, **settings)
    is_run = options.against is not None or options.outliers or is_timed
    if not is_run and (options.data or options.runtime):
        raise click.UsageError(
            "--data and --runtime say how --against, --outliers and --time are measured; "
            "give one of these too"
        )
    if html is not None:
        renderer()  # before minutes of measuring
    report = run(model, options, ProgressBar)
    if html is not None:
        files.write_bytes(html, page(report).encode(errors="backslashreplace"))
    echo_report(report, prints_json, render, indent=None)


@click.group()
def edgetpu() -> None:
    """Tells what of a .tflite a Coral Edge TPU runs.

    \b
    tfedge edgetpu check X.tflite       predicted by the published rules, without the compiler
    tfedge edgetpu compile X.tflite     compiled by edgetpu_compiler and compared
    """


@edgetpu.command(name="check")
@click.argument("model", type=PATH)
@click.option("--json", "prints_json", is_flag=True, help="Print one JSON object.")
@click.option("--html", type=NEW, help="Also write one self-contained page.")
def edgetpu_check(model: Path, prints_json: bool, html: Path | None) -> None:
    """Predicts, operator by operator, what Edge TPU compiler 16 makes of any .tflite.

    \b
    mapped     seen mapped in published logs or pairs of a model and its compiled form
    unproven   allowed by the table of supported operations, but never seen
    CPU        stays on the host, with the compiler's wording, the rule and its source

    In a file that is already compiled, edgetpu-custom-op and the operators left are counted.
    Nothing is run. The exit code is 0 whenever the file could be read.
    """
    from tfedge.edgetpu.check import check as run
    from tfedge.edgetpu.table import page, render

    report = run(model)
    if html is not None:
        files.write_bytes(html, page(report).encode(errors="backslashreplace"))
    echo_report(report, prints_json, render, indent=None)


@edgetpu.command(name="compile")
@click.argument("model", type=PATH)
@click.option("--output", type=NEW, help="Default: X_edgetpu.tflite beside the model.")
@click.option(
    "--timeout",
    default=180,
    type=click.IntRange(1, 86_400),
    help="Stop the compiler after this many seconds.",
)
@click.option("--json", "prints_json", is_flag=True, help="Print one JSON object.")
def edgetpu_compile(model: Path, output: Path | None, timeout: int, prints_json: bool) -> None:
    """Compiles any .tflite with the vendor's edgetpu_compiler and compares with the prediction.

    The compiler is the one that EDGETPU_COMPILER names, else the one in PATH; it is not part of
    tfedge. Signatures, metadata and tokeniser, which it drops, are carried over. Exit code 4: there
    is no compiler, and the message says how to get it; 5: it failed, took too long or mapped
    nothing.
    """
    from tfedge.edgetpu.compile import compile_model

    echo_report(
        compile_model(model, output, timeout), prints_json, compilation_summary, indent=None
    )
