"""Which models no other one beats in both what they cost and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence


def front(costs: Sequence[float], worths: Sequence[float]) -> list[int]:
    """The indices of the points that no other is at least as cheap and as good as, cheapest first.

    Of equal points the first stays.
    """
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -worths[index], index))
    found: list[int] = []
    for index in order:
        if not found or worths[index] > worths[found[-1]]:
            found.append(index)
    return found
