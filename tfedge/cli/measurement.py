"""Commands that run converted models on texts or images: eval and bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tfedge import files
from tfedge.measure.peers.registry import INSTALLED, PEERS, PYTHON
from tfedge.quiet import load_tensorflow


@click.command(name="eval")
@click.option(
    "--model",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A converted .tflite, or a folder with a checkpoint.",
)
@click.option(
    "--data",
    required=True,
    help="TSV, CSV or JSONL with columns text and label, or a data set id on the hub; for a model of "
    "images a folder with a sub-folder a label, or a table with columns image and label.",
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
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    help="Threads of the runtime, in one process. Default: one thread in each of several processes "
    "that share the texts; with --python the choice of tfedge-infer there.",
)
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
    from tfedge.cli.summary import evaluation_summary
    from tfedge.measure.board import Board
    from tfedge.measure.evaluate import evaluate as run
    from tfedge.measure.evaluate import read_items
    from tfedge.progress import ProgressBar

    if any(path and path.is_dir() for path in (model, against)):
        load_tensorflow()
    texts = read_items(model, data, "validation")
    here = python is None and threads is None
    board = Board.here(runtime) if here else Board(Board.command(python), runtime, threads)
    result = run(model, against, texts.head(limit or len(texts)), board, ProgressBar)
    click.echo(json.dumps(result) if as_json else evaluation_summary(result))


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL.tflite[@LENGTH]...")
@click.option(
    "--data",
    required=True,
    help="Texts: a TSV, CSV, JSONL or TXT file, or a data set id on the hub; or images, as "
    "tfedge eval takes them. With labels the accuracy is measured too.",
)
@click.option(
    "--peer",
    "peer_names",
    multiple=True,
    metavar="PEER",
    type=click.Choice([*PEERS, INSTALLED]),
    help="What else answers, with the weights of --checkpoint; may be repeated. See below. "
    f"{INSTALLED}: all whose packages are there; what fails is left out of the table and named.",
)
@click.option(
    "--checkpoint",
    metavar="MODEL",
    help="What the first model was converted from: a name, a folder or a hub id; for --peer.",
)
@click.option(
    "--peer-python",
    default=PYTHON,
    show_default=True,
    help="Python with the peers' packages: `make .venv-bench/.done`, or a virtual environment with "
    "`pip install 'tfedge[bench]'`.",
)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    type=click.Choice(["tflite-runtime", "litert"]),
    help="Of the converted models; repeated, each model runs in each. Default: the first each was "
    "verified on.",
)
@click.option(
    "--threads",
    multiple=True,
    default=(1,),
    show_default=True,
    type=click.IntRange(1, 64),
    help="Threads of each contestant; repeated, each takes part with each number.",
)
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="How often each text is answered by each; its time is the median.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many texts.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the JSON object to this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(
    models: tuple[str, ...],
    data: str,
    peer_names: tuple[str, ...],
    limit: int | None,
    output: Path | None,
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
    tfedge bench X_int8.tflite --runtime litert --runtime tflite-runtime --threads 1 --threads 4 \\
        --data dev.tsv
        one file in each runtime, with one thread and with four
    tfedge bench X_int8.tflite X_int8.tflite --data dev.tsv
        what this machine makes of twice the same

    Each answers one text at a time in a process of its own that stays alive; all take turns, a
    few texts each, so that whatever slows the machine down slows all of them. Read the ratios to
    the first model and their range over the rounds; milliseconds hold for this run alone.

    Peers have the weights of --checkpoint, the same tokeniser, texts and threads. Each runs a text at
    its own length where it can, in the fastest of the forms that its tools make:

    \b
PEERS_HELP
    """
    from tfedge.cli.summary import bench_summary
    from tfedge.data.images import Images
    from tfedge.measure.bench import BenchOptions
    from tfedge.measure.bench import bench as run
    from tfedge.measure.contestant import converted
    from tfedge.measure.evaluate import read_items
    from tfedge.progress import ProgressBar

    # The path of the first model, without a length behind it.
    first = converted(models[0], None, 1)[0].file
    texts = read_items(first, data, "validation")
    if peer_names and isinstance(texts, Images):
        raise click.UsageError("--peer is for models of texts")
    if output is not None:
        files.check_folder(output.parent)
    options = BenchOptions(peers=peer_names, **settings)
    result = run(models, texts.head(limit or len(texts)), options, ProgressBar)
    if output is not None:
        files.write_json(output, result)
    click.echo(json.dumps(result) if as_json else bench_summary(result))


assert bench.help is not None  # its docstring
bench.help = bench.help.replace(
    "PEERS_HELP", "\n".join(f"    {peer.name:<26}{peer.what}" for peer in PEERS.values())
)
