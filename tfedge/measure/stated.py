"""What `tfedge convert` measured of a file, as the .json that it wrote beside the file has it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge import files, tasks
from tfedge.errors import InputError
from tfedge.records import Count, read_record
from tfedge.show.verdict import Figure, accuracy, agreement, missing, sized

FLOAT = "float_"  # before the name of a figure of the model in float
_MOST_BYTES = 16 << 20  # those of tinybert have 28 kB
_LONGEST_NAME = 40  # characters of a figure
_FLOAT_BYTES = 4


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    source: str
    runtimes: Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Stated:
    """What is read of it."""

    sha256: str
    task: str
    parameters: Count
    evaluation: _Evaluation


def read_stated(path: Path) -> Stated | None:
    """What was measured when `path`, X.tflite, was converted; None where X.json beside it is absent,
    is no such report, or tells of other bytes."""
    beside = path.with_suffix(".json")
    try:
        if not beside.is_file() or beside.stat().st_size > _MOST_BYTES:
            return None
        content = json.loads(beside.read_text(encoding="utf-8"))
        found = read_record(content, Stated, str(beside), "tfedge convert")
        tasks.find(found.task)
    except (OSError, ValueError, RecursionError, InputError):
        return None
    return found if found.sha256 == files.sha256(path) else None


def goal_of(figures: Mapping[str, object]) -> str | None:
    """The figure that stands there of the model in float too, None where none does."""
    found = (name.removeprefix(FLOAT) for name in figures if name.startswith(FLOAT))
    return next((name for name in found if name in figures), None)


def accuracy_figure(path: Path, stated: Stated | None) -> Figure:
    """How good its answers are, in the first runtime that ran it."""
    how = f"tfedge eval --model {path.name} --data FILE measures it"
    if stated is None:
        return missing("accuracy", "share", how)
    source = Path(stated.evaluation.source).name
    for runtime, found in stated.evaluation.runtimes.items():
        on = f"{found.get('texts')} texts of {source} in {runtime}, by tfedge convert"
        goal = goal_of(found) or ""
        if not goal.isidentifier() or len(goal) > _LONGEST_NAME:  # the file may be anyone's
            goal = ""
        names = (goal, f"{FLOAT}{goal}", "disagreement")
        ours, floats, other = (_share(found.get(name)) for name in names)
        if ours is not None:
            return accuracy(goal.replace("_", " "), ours, floats, on)
        if other is not None:
            return agreement(1 - other, on)
    return missing("accuracy", "share", how)


def size_figure(length: int, against: int | None, stated: Stated | None) -> Figure:
    """How long the file is, beside a float file's length `against`, or its parameters in float32."""
    if against is not None:
        return sized(length, against, "the files")
    if stated is not None:
        parameters = f"float: {stated.parameters / 1e6:.1f} M parameters of {_FLOAT_BYTES} bytes"
        return sized(length, _FLOAT_BYTES * stated.parameters or None, parameters)
    return sized(length, None, "the file; --against a float file compares")


def _share(value: Any) -> float | None:
    """A number of 0 to 1; None for all else, as the file may be anyone's."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= 1 else None
