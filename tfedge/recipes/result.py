"""What `tfedge run` tells, field by field as its JSON has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tfedge.recipes.plan import StageReport

Value = int | float | str


@dataclasses.dataclass(frozen=True)
class Tried:
    """One trial of a search: `figure` is None where it was ended early."""

    number: int
    settings: Mapping[str, Value]
    figure: float | None


@dataclasses.dataclass(frozen=True)
class Search:
    """What was tried, and what did best by the figure called `goal`."""

    goal: str
    trials: Sequence[Tried]
    best: Tried


@dataclasses.dataclass(frozen=True)
class RunReport:
    """All of it."""

    recipe: str
    output: str
    dry_run: bool
    stages: Sequence[StageReport]
    search: Search | None = None


def shown_setting(item: tuple[str, Value]) -> str:
    """A setting and its value in words."""
    place, value = item
    return f"{place} {value:.3g}" if isinstance(value, float) else f"{place} {value}"
