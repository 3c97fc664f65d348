"""The command that puts measurements onto a page: report."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument(
    "results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT.json..."
)
@click.option(
    "--output",
    default=Path("report.html"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="The page; the same in Markdown, without plots, is written beside it.",
)
@click.option("--title", default="tfedge report", show_default=True, help="Heading of the page.")
def report(results: tuple[Path, ...], output: Path, title: str) -> None:
    """Puts what was measured onto one self-contained HTML page, and into Markdown.

    \b
    tfedge bench X_int8.tflite X_float32.tflite --data dev.tsv --json > bench.json
    tfedge inspect X_int8.tflite --against X_int8_reference.tflite --time --json > int8.json
    tfedge report bench.json int8.json --output X.html

    Of bench: accuracy against time, and which models no other beats in both. Of inspect: cost by
    operator; time, size and error of each part; the layers furthest from float. What `make
    bench-arm BENCH_ARGS='--json X.json'` and `make mission` count on emulated boards is taken too.
    Nothing is measured here: the page says what those commands found, with machine and texts.
    """
    from tfedge.report.write import write_report

    if output.suffix == ".md":
        raise click.UsageError("--output is the HTML page, X.html; X.md is written beside it")
    for path in write_report(results, output, title):
        click.echo(path)
