"""Draws tables and lines for a terminal."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from rich import box
from rich import table as rich_table
from rich.console import Console
from rich.text import Text

from tfedge.show.numbers import visible
from tfedge.show.table import TERMINAL, Table

# Of a file or a pipe, where no line is too long.
_WIDTH = 200
_UNLIMITED = 10_000
MOST_ROWS = 2000  # nobody reads on, and laying out a table takes a second for as many


def infer_program() -> str:
    """What starts `tfedge-infer` here: its path beside `tfedge`, where no shell finds it by name."""
    beside = Path(sys.argv[0]).with_name("tfedge-infer")
    return str(beside) if beside.is_file() and shutil.which(beside.name) is None else beside.name


def text(parts: Iterable[Table | str]) -> str:
    """Tables and lines, as wide as the terminal; in a file or a pipe as wide as needed."""
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((100, 24)).columns if is_terminal else _WIDTH
    output = io.StringIO()
    console = Console(file=output, width=width, color_system=None)
    for part in parts:
        if isinstance(part, str):
            lines = (visible(line) for line in part.split("\n"))
            console.print(Text("\n".join(lines)))
        else:
            _print(console, part.form(TERMINAL))
    return "\n".join(line.rstrip() for line in output.getvalue().rstrip().split("\n"))


def wide(table: Table) -> list[str]:
    """A table without lines, as wide as it is: paths in it are not cut to the terminal."""
    drawn = rich_table.Table(box=None, pad_edge=False, collapse_padding=True)
    for column in table.columns:
        side = "right" if column.is_number else "left"
        drawn.add_column(column.name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    output = io.StringIO()
    Console(file=output, width=_UNLIMITED, color_system=None).print(drawn)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def _print(console: Console, table: Table) -> None:
    """Cells are shown as they are, never as markup."""
    drawn = rich_table.Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        side = "right" if column.is_number else "left"
        drawn.add_column(column.name, justify=side, no_wrap=column.is_number, overflow="fold")  # type: ignore[arg-type]
    for row in table.rows[:MOST_ROWS]:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    console.print(Text(visible(table.title)))
    console.print(drawn)
    if (more := len(table.rows) - MOST_ROWS) > 0:
        console.print(f"and {more} more, which --json and --html have\n")
