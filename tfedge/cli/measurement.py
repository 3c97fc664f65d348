"""Commands that run converted models on texts or images: eval and bench."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfedge import files
from tfedge.cli.options import echo_report
from tfedge.quiet import load_tensorflow

if TYPE_CHECKING:
    from tfedge.data.texts import Texts
    from tfedge.measure.bench import BenchOptions
    from tfedge.measure.board import Board
    from tfedge.measure.race import Race
    from tfedge.progress import MakeBar


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
    "and label; tokens and labels; question, context and answers; text, text_pair and score. For an "
    "image model: a folder with a sub-folder for each label, or a table with columns image and label.",
)
@click.option(
    "--against",
    type=click.Path(exists=True, path_type=Path),
    help="A second model, to count how many answers differ.",
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
    "that share the texts; with --python, what tfedge-infer chooses there.",
)
@click.option("--limit", type=click.IntRange(1), help="Use only the first N texts.")
@click.option(
    "--python",
    help="Command that starts the Python that runs a .tflite, a board's for instance. Default: this "
    "one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    model: Path,
    data: str,
    against: Path | None,
    limit: int | None,
    as_json: bool,
    **place: Any,
) -> None:
    """Measures a model on labelled data, and how its answers differ from another's.

    Classifiers: accuracy, macro F1, confusion. Token classification: accuracy of words, F1 of
    entities. Question answering: exact match, F1. Sentence embedding: Spearman's correlation.

    \b
    tfedge eval --model saved_models/tinybert/tinybert_int8.tflite --data dev.tsv
    tfedge eval --model X_int8.tflite --against X_float32.tflite --data texts.txt
    tfedge eval --model saved_models/tinybert --data dev.tsv         (Keras, float32)
    """
    from tfedge.cli.summary import evaluation_summary
    from tfedge.measure.evaluate import evaluate as run
    from tfedge.measure.evaluate import read_rows
    from tfedge.progress import ProgressBar

    if any(path and path.is_dir() for path in (model, against)):
        load_tensorflow()
    rows = read_rows(model, data, "validation").head(limit)
    result = run(model, against, rows, _board(**place), ProgressBar)
    echo_report(result, as_json, evaluation_summary, indent=None)


def _board(python: str | None, runtime: str | None, threads: int | None) -> Board:
    from tfedge.measure.board import Board

    here = python is None and threads is None
    return Board.here(runtime) if here else Board(Board.command(python), runtime, threads)


@dataclasses.dataclass(frozen=True)
class Raced:
    """What a race is about, as a command line gives it.

    Attributes:
        models: paths of converted models, with `@LENGTH` where one graph is to answer.
        texts: what all answer; of a model of images, images.
    """

    models: tuple[str, ...]
    texts: Texts
    options: BenchOptions
    make_bar: MakeBar

    @property
    def of_images(self) -> bool:
        """Whether images are answered."""
        from tfedge.data.images import Images

        return isinstance(self.texts, Images)


def race_options(function: Any) -> Any:
    """Adds to a command what `run_race` takes."""
    for option in reversed(_RACE_OPTIONS):
        function = option(function)
    return function


_RACE_OPTIONS = [
    click.argument("models", nargs=-1, required=True, metavar="MODEL.tflite[@LENGTH]..."),
    click.option(
        "--data",
        required=True,
        help="Texts: a TSV, CSV, JSONL or TXT file, or a data set id on the hub; or images, as "
        "tfedge eval takes them. With labels the accuracy is measured too.",
    ),
    click.option(
        "--runtime",
        "runtimes",
        multiple=True,
        type=click.Choice(["tflite-runtime", "litert"]),
        help="Of the converted models; repeated, each model runs in each. Default: the first each "
        "was verified on.",
    ),
    click.option(
        "--threads",
        multiple=True,
        default=(1,),
        show_default=True,
        type=click.IntRange(1, 64),
        help="Threads of each contestant; repeated, each takes part with each number.",
    ),
    click.option(
        "--rounds",
        default=5,
        show_default=True,
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
]


def run_race(
    race: Callable[[Raced], Race],
    models: tuple[str, ...],
    data: str,
    limit: int | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Reads the texts, races, and prints and writes the result.

    Args:
        race: from what is asked for to the figures.
        settings: the other values of `race_options`.
    """
    from tfedge.cli.summary import bench_summary
    from tfedge.measure.bench import BenchOptions
    from tfedge.measure.contestant import converted
    from tfedge.measure.evaluate import read_items
    from tfedge.progress import ProgressBar
    from tfedge.records import as_json

    prints_json = settings.pop("prints_json")
    # The path of the first model, without a length behind it.
    first = converted(models[0], None, 1)[0].file
    texts = read_items(first, data, "validation")
    if output is not None:
        files.check_folder(output.parent)
    options = BenchOptions(**settings)
    result = race(Raced(models, texts.head(limit or len(texts)), options, ProgressBar))
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

    def race(raced: Raced) -> Race:
        from tfedge.measure.bench import bench as run

        return run(raced.models, raced.texts, raced.options, raced.make_bar)

    run_race(race, **settings)
