"""Commands that measure converted models, and put what was measured onto a page."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tfedge import files
from tfedge.cli.options import (
    NEW,
    PATH,
    RUNTIME,
    Once,
    board_option,
    columns,
    echo_report,
    remote_of,
    take,
    together,
)
from tfedge.cli.summary import bench_summary, evaluation_summary, written_summary
from tfedge.records import as_json

if TYPE_CHECKING:
    from tfedge.boards.remote import Remote
    from tfedge.measure.board import Board
    from tfedge.measure.evaluate import Evaluation
    from tfedge.measure.race import Race

    Bench = Callable[..., Race]


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
    help="TSV, CSV or JSONL, or a data set id on the hub, with the columns that the task needs: text "
    "and label, or score; tokens and labels; question, context and answers; text, text_pair and score. "
    "For an image model: a folder with a sub-folder for each label, or a table with columns image and "
    "label.",
)
@columns
@click.option(
    "--against",
    type=click.Path(exists=True, path_type=Path),
    help="A second model, to count how many answers differ and how they do: of labels, which model "
    "alone is right; of embeddings, mean and least cosine, nearest neighbours, ranks of similarities.",
)
@click.option(
    "--runtime", cls=Once, type=RUNTIME, help="Default: the first the model was verified on."
)
@click.option(
    "--threads",
    cls=Once,
    type=click.IntRange(1, 64),
    help="Threads of the runtime, in one process. Default: one thread in each of several processes "
    "that share the texts; with --python or --board, what tfedge-infer chooses there.",
)
@click.option("--limit", type=click.IntRange(1), help="Use only the first N texts.")
@click.option(
    "--out-of-scope",
    metavar="LABEL",
    help="Tell recall and precision of this label, which texts have that none of the others fits.",
)
@click.option(
    "--gallery",
    metavar="FILE",
    help="Of an embedder: texts with labels, among which those of --data are looked for; tells how "
    "often the nearest one has the same label.",
)
@click.option(
    "--mistakes",
    type=NEW,
    metavar="FILE.csv",
    help="Write the texts whose answer is not their label, the surest answers first: often it is the "
    "label that is wrong.",
)
@click.option(
    "--python",
    help="Command that starts the Python that runs a .tflite, an emulator's for instance. Default: "
    "this one.",
)
@board_option
@click.option("--json", "prints_json", is_flag=True, help="Print one JSON object.")
def evaluate(prints_json: bool, **settings: Any) -> None:
    """Measures a model on labelled data, and how its answers differ from another's.

    Classifiers: accuracy, macro F1, confusion; with several labels a text, micro and macro F1. Numbers
    and scores: Pearson's and Spearman's correlation; where a query has several passages, MRR@10 and
    nDCG@10. Token classification: accuracy of words, F1 of entities. Question answering: exact match,
    F1. Sentence embedding: Spearman's correlation.

    \b
    tfedge eval --model saved_models/tinybert/tinybert_int8.tflite --data dev.tsv
    tfedge eval --model X_int8.tflite --against X_float32.tflite --data texts.txt
    tfedge eval --model X_int8.tflite --data dev.tsv --board pi@raspberrypi
    tfedge eval --model saved_models/tinybert --data dev.tsv         (Keras, float32)
    """
    echo_report(run_evaluation(**settings), prints_json, evaluation_summary, indent=None)


def run_evaluation(
    model: Path,
    data: str,
    against: Path | None,
    limit: int | None,
    gallery: str | None,
    **place: Any,
) -> Evaluation:
    """Does what `evaluate` does, with its options."""
    if place["board"] is not None and place["python"] is not None:
        raise click.UsageError("--board and --python both say where it runs; give one of them")
    remote = remote_of(place["board"])
    from tfedge.data.hub import Data
    from tfedge.measure.evaluate import Details, read_rows
    from tfedge.measure.evaluate import evaluate as run
    from tfedge.measure.retrieval import Search, evaluate_search
    from tfedge.progress import ProgressBar
    from tfedge.tasks.columns import ColumnNames

    named, details = take(ColumnNames, place), take(Details, place)
    details.keeps(model, data, against)
    if gallery is not None:
        if details != Details():
            raise click.UsageError("--gallery goes neither with --mistakes nor with --out-of-scope")
        search = Search.read(Data(data, "validation", named), Data(gallery, "train", named), limit)
        return evaluate_search(model, against, search, _board(place, remote), ProgressBar)
    rows = read_rows(model, data, "validation", named).head(limit)
    return run(model, against, rows, _board(place, remote), ProgressBar, details)


def _board(place: dict[str, Any], remote: Remote | None) -> Board:
    """Where a .tflite runs."""
    from tfedge.measure.board import Board

    python, runtime, threads = (place[name] for name in ("python", "runtime", "threads"))
    if remote is not None:
        runtime = runtime or remote.entry.runtime
        remote.check(runtime)
        return Board(runtime=runtime, threads=threads, remote=remote)
    if python is None and threads is None:
        return Board.here(runtime)
    return Board(Board.command(python), runtime, threads)


# What `run_race` takes.
race_options = together(
    click.argument("models", nargs=-1, required=True, metavar="MODEL.tflite[@LENGTH]..."),
    click.option(
        "--data",
        help="Texts: a TSV, CSV, JSONL or TXT file, or a data set id on the hub; or images, as "
        "tfedge eval takes them. With labels the accuracy is measured too.",
    ),
    columns,
    click.option(
        "--runtime",
        "runtimes",
        multiple=True,
        type=RUNTIME,
        help="Of the converted models; repeated, each model runs in each. Default: the first each "
        "was verified on.",
    ),
    click.option(
        "--threads",
        multiple=True,
        default=(1,),
        type=click.IntRange(1, 64),
        help="Threads of each contestant; repeated, each takes part with each number.",
    ),
    click.option(
        "--rounds",
        default=5,
        type=click.IntRange(1, 1000),
        help="How often each text is answered by each; its time is the median.",
    ),
    click.option("--limit", type=click.IntRange(1), help="Use only the first N texts."),
    click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Also write the JSON object to this file.",
    ),
    click.option("--json", "prints_json", is_flag=True, help="Print one JSON object."),
)


def run_race(
    race: Bench, models: tuple[str, ...], data: str | None, prints_json: bool, **settings: Any
) -> None:
    """Reads the texts, races, and prints and writes the result.

    Args:
        race: as `tfedge.measure.race.bench`.
        models: paths of converted models, with `@LENGTH` where one graph is to answer.
        settings: the other values of `race_options`.
    """
    from tfedge.measure.contestant import converted
    from tfedge.measure.evaluate import read_items
    from tfedge.measure.race import BenchOptions
    from tfedge.progress import ProgressBar
    from tfedge.tasks.columns import ColumnNames

    if data is None:
        raise click.UsageError("Missing option '--data'.")
    limit, output = settings.pop("limit"), settings.pop("output")
    # The path of the first model, without a length behind it.
    first = converted(models[0], None, 1)[0].file
    texts = read_items(first, data, "validation", take(ColumnNames, settings))
    if output is not None:
        files.check_folder(output.parent)
    options = BenchOptions(**settings)
    result = race(models, texts.head(limit or len(texts)), options, ProgressBar)
    if output is not None:
        files.write_json(output, as_json(result))
    echo_report(result, prints_json, bench_summary, indent=None)


class _Moved(click.ClickException):
    exit_code = 2


def _peers_moved(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value:
        raise _Moved(
            "peers are raced by `python -m benchmarks` in a clone of tfedge's repository, with the "
            "same options"
        )


# What --estimate, which runs nothing, has a say in.
_OF_ESTIMATES = ("models", "board", "is_estimated", "runtimes", "output", "prints_json")


def _run_estimate(models: tuple[str, ...], board: str | None, **settings: Any) -> None:
    """Estimates, and prints and writes the result."""
    from tfedge.inspect.estimate import estimate_files, known_boards
    from tfedge.inspect.estimate_table import render

    context = click.get_current_context()
    for option in context.command.params:
        source = context.get_parameter_source(str(option.name))
        if option.name not in _OF_ESTIMATES and source is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--estimate runs nothing, on one thread: leave out {option.opts[0]}"
            )
    if board is None:
        raise click.UsageError(
            f"--estimate is of a board: give one with --board, of {', '.join(known_boards())}"
        )
    output = settings["output"]
    if output is not None:
        files.check_folder(output.parent)
    found = estimate_files(models, board, settings["runtimes"])
    if output is not None:
        files.write_json(output, as_json(found))
    echo_report(found, settings["prints_json"], render, indent=None)


@click.command()
@race_options
@board_option
@click.option(
    "--estimate",
    "is_estimated",
    is_flag=True,
    help="Run nothing: estimate the milliseconds of each length on --board rpi4, rpi5 or jetson-nano, "
    "by a table of what operators cost there.",
)
@click.option(
    "--peer",
    "--checkpoint",
    "--peer-python",
    hidden=True,
    multiple=True,
    expose_value=False,
    is_eager=True,
    callback=_peers_moved,
    help="Moved to `python -m benchmarks`.",
)
def bench(board: str | None, is_estimated: bool, **settings: Any) -> None:
    """Compares how fast converted models answer: times, accuracy, memory, size, start-up.

    \b
    tfedge bench X_int8.tflite@128 X_int8.tflite --data dev.tsv
        what the shorter graphs of a file save against its graph for 128 tokens
    tfedge bench X_int8.tflite X_float32.tflite --runtime litert --data dev.tsv
        the same weights in other forms
    tfedge bench X_int8.tflite --runtime litert --runtime tflite-runtime --threads 1 --threads 4 \\
        --data dev.tsv
        one file in each runtime, with one thread and with four
    tfedge bench X_int8.tflite X_int8.tflite --data dev.tsv
        the same model twice, to see this machine's noise
    tfedge bench X_int8.tflite X_float32.tflite --data dev.tsv --board pi@raspberrypi
        on a board
    tfedge bench X_int8.tflite X_float32.tflite --board rpi5 --estimate
        without a board: milliseconds, how wrong they may be, and what limits

    Each answers one text at a time in a process of its own that stays alive; all take turns, a
    few texts each, so that whatever slows the machine down slows all of them. Read the ratios to
    the first model and their range over the rounds; milliseconds only hold for this run.

    Other products on the same weights are raced by `python -m benchmarks`, in a clone of tfedge's
    repository.
    """
    if is_estimated:
        _run_estimate(board=board, **settings)
        return
    from tfedge.measure.race import bench as run

    run_race(functools.partial(run, remote=remote_of(board)), **settings)


@click.command()
@click.argument("results", nargs=-1, required=True, type=PATH, metavar="RESULT.json...")
@click.option(
    "--output",
    default=Path("report.html"),
    type=NEW,
    help="The page; the same in Markdown, without plots, is written beside it.",
)
@click.option("--title", default="tfedge report", help="Heading of the page.")
@click.option("--json", "prints_json", is_flag=True, help="Print files and verdicts as JSON.")
def report(results: tuple[Path, ...], output: Path, title: str, prints_json: bool) -> None:
    """Puts what was measured onto one self-contained HTML page, and into Markdown.

    \b
    tfedge bench X_int8.tflite X_float32.tflite --data dev.tsv --json > bench.json
    tfedge inspect X_int8.tflite --against X_int8_reference.tflite --time --json > int8.json
    tfedge report bench.json int8.json --output X.html

    The verdict is on top: accuracy, size and speed against float and the fastest peer. Of bench:
    accuracy against time, and which models no other beats in both. Of inspect: cost by operator;
    time, size and error of each part; the layers furthest from float; outliers. Of eval, of a
    classifier: which labels are taken for which others. What `make bench-arm BENCH_ARGS='--json
    X.json'` and `make mission` count on emulated boards is taken too. Nothing is measured here: the
    page says what those commands found, with machine and texts.
    """
    from tfedge.report.write import write_report

    if output.suffix == ".md":
        raise click.UsageError("--output is the HTML page, X.html; X.md is written beside it")
    echo_report(write_report(results, output, title), prints_json, written_summary)
