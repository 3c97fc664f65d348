"""The command that runs several others: run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tfedge.cli.options import PATH, echo_report
from tfedge.cli.summary import stages_summary
from tfedge.notes import is_quiet


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
    "--dry-run", is_flag=True, help="Only list what would run and why; nothing is written."
)
@click.option("--json", "as_json", is_flag=True, help="Print the reports of all stages.")
def run_recipe(
    recipe: Path, changes: tuple[str, ...], dry_run: bool, as_json: bool, **replaced: Any
) -> None:
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
    """
    from tfedge.recipes.recipe import read_recipe
    from tfedge.recipes.run import run as run_stages
    from tfedge.settings import parse_setting

    overrides = dict(map(parse_setting, changes))
    for key, value in replaced.items():
        if value is not None:
            overrides[key if key == "output" else f"defaults.{key}"] = str(value)
    program = click.get_current_context().find_root().command
    assert isinstance(program, click.Group)
    stages = read_recipe(recipe, program.commands, overrides)
    report = run_stages(
        stages, dry_run, lambda line: None if is_quiet() else click.echo(line, err=True)
    )
    echo_report(report, as_json, stages_summary)
