"""What a machine was like before and after it was timed, and what of it tells against the times."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from tfedge.runtime.conditions import Conditions

HOT_CELSIUS = 80.0  # where a Raspberry Pi begins to slow down
SPREAD = 1.1  # of the times of rounds, the largest by the least; a quiet board has 1.01 to 1.03


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What there was around a measurement."""

    before: Conditions
    after: Conditions
    unsteady: Sequence[str]  # what tells against the times, in words

    def lines(self) -> list[str]:
        """For people; nothing where the machine says nothing and nothing tells against the times."""
        first, last = (_state(moment) for moment in (self.before, self.after))
        lines = [f"before: {first}; after: {last}"] if first or last else []
        if self.unsteady:
            lines.append(f"unsteady, measure again: {'; '.join(self.unsteady)}")
        return lines


def surroundings(
    before: Conditions, after: Conditions, rounds: np.ndarray | None = None
) -> Surroundings:
    """What was around a measurement.

    Args:
        rounds: seconds that the same work took in each round, float64 (rounds,), where there were some.
    """
    return Surroundings(before, after, list(_unsteady(before, after, rounds)))


def _unsteady(before: Conditions, after: Conditions, rounds: np.ndarray | None) -> Iterator[str]:
    now = dict.fromkeys((*(before.held_back or ()), *(after.held_back or ())))
    if now:
        yield f"the processor was held back ({', '.join(now)})"
    known = {*now, *(before.held_back_before or ())}
    if new := [name for name in after.held_back_before or () if name not in known]:
        yield f"the processor was held back meanwhile ({', '.join(new)})"
    if after.celsius is not None and after.celsius >= HOT_CELSIUS:
        yield f"it is hot ({after.celsius:.0f} °C): give it a heat sink or a fan"
    if before.governor != after.governor:
        yield f"the governor of its clock was {before.governor}, then {after.governor}"
    if rounds is not None and len(rounds) > 1 and rounds.max() > SPREAD * rounds.min():
        yield f"the slowest round took {rounds.max() / rounds.min():.2f} times as long as the fastest"


def _state(moment: Conditions) -> str:
    found = [] if moment.celsius is None else [f"{moment.celsius:.0f} °C"]
    found += [] if moment.megahertz is None else [f"{moment.megahertz} MHz"]
    found += [moment.governor] if moment.governor else []
    if moment.held_back is not None:
        found.append(f"held back: {', '.join(moment.held_back) or 'no'}")
    return ", ".join(found)
