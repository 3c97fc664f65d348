"""The command that runs several others: run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfedge.cli.options import PATH, echo_report
from tfedge.cli.stages import stages_summary
from tfedge.notes import is_quiet
from tfedge.runtime.terminal import say
from tfedge.settings import parse_setting

if TYPE_CHECKING:
    from tfedge.recipes.recipe import Recipe
    from tfedge.recipes.result import Search


@click.command(name="run")
@click.argument("recipe", type=PATH)
@click.option("--data", help="Training texts in place of the recipe's.")
@click.option("--eval", help="Held-out texts in place of the recipe's.")
@click.option(
    "--output",
    type=PATH,
    help="Folder for everything that is made; default: the recipe's, else build/NAME beside it.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="Anything else in place of the recipe's, e.g. finetune.epochs=1; may be repeated.",
)
@click.option(
    "--search",
    "count",
    type=click.IntRange(1),
    metavar="N",
    help="Try N settings of the training first, see --over, and go on with the best on --eval; those "
    "that do worse than most are ended early.",
)
@click.option(
    "--over",
    multiple=True,
    metavar="TABLE.KEY=LOW..HIGH",
    help="What --search tries, also TABLE.KEY=A,B,C; may be repeated. Default: learning_rate from 5e-5 "
    "to 1e-3 and epochs from 3 to 20 of the last [finetune] or [distil].",
)
@click.option(
    "--dry-run", is_flag=True, help="Only list what would run and why; nothing is written."
)
@click.option("--json", "as_json", is_flag=True, help="Print the reports of all stages.")
def run_recipe(recipe: Path, changes: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Makes a model for a board out of texts, stage by stage, as a TOML file says.

    \b
    [defaults]                  what several share: data, eval, seed, max_length, text_column,
                                pair_column, label_column
    data = "train.tsv"          texts and labels; paths are relative to the recipe
    eval = "test.tsv"
    [finetune]                  a teacher: the options of `tfedge finetune`, with _ for -
    model = "minilm"
    epochs = 5
    [distil]                    a small student of it; likewise [shrink], [prune], [trim] and [qad]
    preset = "tinybert"
    [convert]                   the .tflite, in OUTPUT/convert/
    seq_len = 64
    [eval]

    The tables run in the order in which they stand; each takes what the one before has made. Above
    them may stand name and output. A stage whose options, files and versions are what they were is
    skipped, one that was killed is resumed, and behind one that runs all others run.
    examples/trec.toml is a whole one.

    \b
    tfedge run mine.toml --search 12 --over distil.learning_rate=1e-4..1e-3 --over distil.epochs=8..30

    A search that was killed goes on; the same command in other terminals, or on other machines that
    share OUTPUT, takes part in it.
    """
    from tfedge.recipes.recipe import read_recipe
    from tfedge.recipes.run import run as run_stages

    count, over, dry_run = (given.pop(name) for name in ("count", "over", "dry_run"))
    if (over and count is None) or (count and dry_run):
        raise click.UsageError(
            "--over is of --search, which trains: give --search N, and no --dry-run"
        )
    overrides = dict(map(parse_setting, changes))
    for key, value in given.items():
        if value is not None:
            overrides[key if key == "output" else f"defaults.{key}"] = str(value)
    program = click.get_current_context().find_root().command
    assert isinstance(program, click.Group)

    def read(more: Mapping[str, Any]) -> Recipe:
        return read_recipe(recipe, program.commands, {**overrides, **more})

    found, settings = None, {}
    if count:
        found = _searched(read, over, count)
        settings = dict(found.best.settings)
    report = run_stages(read(settings), dry_run, _say, waits=count is not None)
    echo_report(dataclasses.replace(report, search=found), as_json, stages_summary)


def _searched(
    read: Callable[[Mapping[str, Any]], Recipe], over: tuple[str, ...], count: int
) -> Search:
    from tfedge.recipes.search import Space, search

    return search(read, [Space.parse(text) for text in over], count, _say)


def _say(line: str) -> None:
    if not is_quiet():
        say(line)
