"""Commands that measure converted models, and put what was measured onto a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfedge import files
from tfedge.cli.options import PATH, RUNTIME, columns, echo_report, take, together
from tfedge.cli.summary import bench_summary, evaluation_summary
from tfedge.quiet import load_tensorflow
from tfedge.records import as_json

if TYPE_CHECKING:
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
@click.option("--runtime", type=RUNTIME, help="Default: the first the model was verified on.")
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    help="Threads of the runtime, in one process. Default: one thread in each of several processes "
    "that share the texts; with --python, what tfedge-infer chooses there.",
)
@click.option("--limit", type=click.IntRange(1), help="Use only the first N texts.")
@click.option(
    "--python",
    help="Command that starts the Python that runs a .tflite, a board's for instance. Default: this "
    "one.",
)
@click.option("--json", "prints_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    model: Path, data: str, against: Path | None, limit: int | None, prints_json: bool, **place: Any
) -> None:
    """Measures a model on labelled data, and how its answers differ from another's.

    Classifiers: accuracy, macro F1, confusion; with several labels a text, micro and macro F1. Numbers
    and scores: Pearson's and Spearman's correlation. Token classification: accuracy of words, F1 of
    entities. Question answering: exact match, F1. Sentence embedding: Spearman's correlation.

    \b
    tfedge eval --model saved_models/tinybert/tinybert_int8.tflite --data dev.tsv
    tfedge eval --model X_int8.tflite --against X_float32.tflite --data texts.txt
    tfedge eval --model saved_models/tinybert --data dev.tsv         (Keras, float32)
    """
    from tfedge.measure.board import Board
    from tfedge.measure.evaluate import evaluate as run
    from tfedge.measure.evaluate import read_rows
    from tfedge.progress import ProgressBar
    from tfedge.tasks.columns import ColumnNames

    named = take(ColumnNames, place)
    rows = read_rows(model, data, "validation", named).head(limit)
    if any(path and path.is_dir() for path in (model, against)):
        load_tensorflow()
    python, runtime, threads = (place[name] for name in ("python", "runtime", "threads"))
    here = python is None and threads is None
    board = Board.here(runtime) if here else Board(Board.command(python), runtime, threads)
    result = run(model, against, rows, board, ProgressBar)
    echo_report(result, prints_json, evaluation_summary, indent=None)


# What `run_race` takes.
race_options = together(
    click.argument("models", nargs=-1, required=True, metavar="MODEL.tflite[@LENGTH]..."),
    click.option(
        "--data",
        required=True,
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
    race: Bench, models: tuple[str, ...], data: str, prints_json: bool, **settings: Any
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


@click.command()
@race_options
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
def bench(**settings: Any) -> None:
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

    Each answers one text at a time in a process of its own that stays alive; all take turns, a
    few texts each, so that whatever slows the machine down slows all of them. Read the ratios to
    the first model and their range over the rounds; milliseconds only hold for this run.

    Other products on the same weights are raced by `python -m benchmarks`, in a clone of tfedge's
    repository.
    """
    from tfedge.measure.race import bench as run

    run_race(run, **settings)


@click.command()
@click.argument("results", nargs=-1, required=True, type=PATH, metavar="RESULT.json...")
@click.option(
    "--output",
    default=Path("report.html"),
    type=PATH,
    help="The page; the same in Markdown, without plots, is written beside it.",
)
@click.option("--title", default="tfedge report", help="Heading of the page.")
def report(results: tuple[Path, ...], output: Path, title: str) -> None:
    """Puts what was measured onto one self-contained HTML page, and into Markdown.

    \b
    tfedge bench X_int8.tflite X_float32.tflite --data dev.tsv --json > bench.json
    tfedge inspect X_int8.tflite --against X_int8_reference.tflite --time --json > int8.json
    tfedge report bench.json int8.json --output X.html

    Of bench: accuracy against time, and which models no other beats in both. Of inspect: cost by
    operator; time, size and error of each part; the layers furthest from float; outliers. What
    `make bench-arm BENCH_ARGS='--json X.json'` and `make mission` count on emulated boards is taken
    too. Nothing is measured here: the page says what those commands found, with machine and texts.
    """
    from tfedge.report.write import write_report

    if output.suffix == ".md":
        raise click.UsageError("--output is the HTML page, X.html; X.md is written beside it")
    for path in write_report(results, output, title):
        click.echo(path)
