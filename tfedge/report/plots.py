"""The plot of what models are worth against what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tfedge.show.plots import Frame, Scale, escape, label, svg, ticks

_FRAME = Frame(height=360, left=60, right=24, top=20, bottom=44)
_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # percent between lines
_LEAST_SPAN = 0.5  # percent; two points that hardly differ are no cliff
_TICKS = (1.0, 2.0, 5.0)  # of each power of ten
Point = tuple[float, float]  # of a model its relative time, above 0, and what it is worth, 0 to 1


def pareto_plot(
    points: Sequence[Point], titles: Sequence[str], front: Sequence[int], kind: str
) -> str:
    """Points by their numbers in the table below; a line joins those that nothing beats.

    Tooltips say the `titles`; the vertical axis shows a `kind`, in percent.
    """
    costs = [math.log10(cost) for cost, _ in points]
    worths = [100 * worth for _, worth in points]
    low, high = _padded(min(costs), max(costs), 0.08)
    bottom, top = _padded(min(worths), max(worths), _LEAST_SPAN)
    x, y = _FRAME.x(low, high), _FRAME.y(bottom, top)
    parts = [*_FRAME.grid(y, ticks(bottom, top, _STEPS)), *_times(x, low, high)]
    steps = " ".join(f"{x(costs[index]):.1f},{y(worths[index]):.1f}" for index in front)
    parts.append(f'<polyline class="line" points="{steps}"/>')
    for index, (cost, worth) in enumerate(zip(costs, worths, strict=True)):
        look = "dot" if index in front else "beaten"
        at = f'cx="{x(cost):.1f}" cy="{y(worth):.1f}"'
        title = f"<title>{escape(titles[index])}</title>"
        parts.append(f'<circle class="{look}" r="5" {at}>{title}</circle>')
        parts.append(label(x(cost) + 8, y(worth) - 7, str(index + 1), "start", "number"))
    parts.append(
        label(_FRAME.left, _FRAME.height - 6, "time of a text, relative to 1 (logarithmic)")
    )
    parts.append(label(_FRAME.left, _FRAME.top - 8, f"{kind}, %"))
    return svg(_FRAME.height, parts, f"{kind.capitalize()} against time, by number in the table")


def _padded(low: float, high: float, least: float) -> tuple[float, float]:
    """A span with some room at both ends, `least` wide at least."""
    room = max(least, high - low) * 0.12
    middle, half = (low + high) / 2, max(least, high - low) / 2
    return middle - half - room, middle + half + room


def _times(x: Scale, low: float, high: float) -> list[str]:
    parts, bottom = [], _FRAME.height - _FRAME.bottom
    for power in range(math.floor(low), math.ceil(high) + 1):
        for digit in _TICKS:
            at = math.log10(digit) + power
            if low <= at <= high:
                place = f'x1="{x(at):.1f}" x2="{x(at):.1f}"'
                parts.append(f'<line class="grid" {place} y1="{_FRAME.top}" y2="{bottom}"/>')
                text = f"{digit * 10.0**power:g}"
                parts.append(label(x(at), bottom + 16, text, "middle"))
    return parts


def front(points: Sequence[Point]) -> list[int]:
    """The indices of the points that no other is at least as cheap and as good as, cheapest first.

    Of equal points the first stays.
    """
    found: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not found or points[index][1] > points[found[-1]][1]:
            found.append(index)
    return found
