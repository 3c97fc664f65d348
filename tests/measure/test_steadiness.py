"""What tells against times."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tfedge.measure.steadiness import surroundings
from tfedge.runtime.conditions import Conditions

QUIET = Conditions("Cortex-A72", 4, 0.1, "ondemand", 1500, 48.2, (), ())


def around(rounds: list[float] | None = None, **after: Any) -> list[str]:
    found = surroundings(
        QUIET, dataclasses.replace(QUIET, **after), None if rounds is None else np.array(rounds)
    )
    return list(found.unsteady)


def test_a_quiet_board() -> None:
    assert around([1.0, 1.05, 1.1]) == around([1.0]) == around(celsius=79.9) == []


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"held_back": ("throttled",)}, "the processor was held back (throttled)"),
        (
            {"held_back_before": ("under-voltage",)},
            "the processor was held back meanwhile (under-voltage)",
        ),
        ({"celsius": 82.4}, "it is hot (82 °C): give it a heat sink or a fan"),
        ({"governor": "powersave"}, "the governor of its clock was ondemand, then powersave"),
    ],
)
def test_what_is_told(after: dict[str, Any], words: str) -> None:
    assert around(**after) == [words]


def test_rounds_that_differ() -> None:
    (told,) = around([1.0, 1.0, 1.25])
    assert told == "the slowest round took 1.25 times as long as the fastest"


def test_what_was_before_is_not_of_this_run() -> None:
    before = dataclasses.replace(QUIET, held_back_before=("throttled",))
    assert surroundings(before, before).unsteady == []


def test_lines() -> None:
    hot = dataclasses.replace(QUIET, celsius=85.0, megahertz=1000, held_back=("throttled",))
    state = "48 °C, 1500 MHz, ondemand, held back: no"
    assert surroundings(QUIET, QUIET).lines() == [f"before: {state}; after: {state}"]
    lines = surroundings(QUIET, hot).lines()
    assert lines[0].endswith("after: 85 °C, 1000 MHz, ondemand, held back: throttled")
    assert lines[1].startswith("unsteady, measure again: the processor was held back (throttled); ")
    silent = Conditions("Chip", 2, 0.0, None, None, None, None, None)
    assert surroundings(silent, silent).lines() == []
