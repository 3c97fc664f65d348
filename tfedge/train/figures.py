"""What a training tells while it runs, as lines of JSON beside what TensorBoard reads."""

from __future__ import annotations

import json
from pathlib import Path

FIGURES = "figures.jsonl"
_HELD_OUT = "eval_"  # what the names of figures of held-out texts begin with


def add_figures(folder: Path, step: int, steps: int, figures: dict[str, float]) -> None:
    """Adds a line: the step, the number of steps in all, and figures by their names."""
    with open(folder / FIGURES, "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "steps": steps, **figures}) + "\n")


def read_figures(path: Path) -> list[tuple[int, float]]:
    """The steps at which held-out texts were measured, and what for; none where there is no file yet.

    The last line may still be written, and is then left out.
    """
    try:
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    rows = map(json.loads, lines)
    return [
        (row["step"], value)
        for row in rows
        for name, value in row.items()
        if name.startswith(_HELD_OUT)
    ]
