"""Plots as inline SVG. Colours are the page's CSS variables, so they follow its light or dark."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Callable, Iterable, Sequence

from tfedge.show.numbers import visible

Scale = Callable[[float], float]
WIDTH = 720
_BAR = 22


def escape(text: str) -> str:
    """Text from a file, safe in HTML, in an attribute too."""
    return html.escape(visible(text), quote=True)


def bar_plot(rows: Sequence[tuple[str, str, float]], title: str) -> str:
    """Bars, each a name, its figure in words and its length, 1 the whole width."""
    # A bar begins below its name and figure: names may be long, and a phone shows only what is left.
    parts = []
    for index, (name, figure, share) in enumerate(rows):
        top = index * 2 * _BAR
        parts.append(label(0, top + 15, f"{name}: {figure}"))
        width = max(1.0, share * WIDTH)
        parts.append(f'<rect class="bar" x="0" y="{top + _BAR}" width="{width:.1f}" height="10"/>')
    return svg(len(rows) * 2 * _BAR, parts, title)


@dataclasses.dataclass(frozen=True)
class Frame:
    """The area of a plot, with what stands around it."""

    height: int = 300
    left: int = 52
    right: int = 12
    top: int = 12
    bottom: int = 34

    def x(self, low: float, high: float, inset: float = 0) -> Scale:
        """Maps low..high to places from left to right, `inset` away from both sides."""
        return _scale(low, high, self.left + inset, WIDTH - self.right - inset)

    def along(self, count: int) -> Scale:
        """Maps the index of a layer or an operator to its place."""
        return self.x(0, max(1, count - 1), 6)

    def y(self, low: float, high: float) -> Scale:
        """Maps low..high to places from the bottom to the top."""
        return _scale(low, high, self.height - self.bottom, self.top)

    def grid(self, y: Scale, ticks: Iterable[float]) -> list[str]:
        """A line across and its number for each of `ticks`."""
        parts = []
        for value in ticks:
            kind = "zero" if value == 0 else "grid"
            at = f'y1="{y(value):.1f}" y2="{y(value):.1f}"'
            parts.append(f'<line class="{kind}" x1="{self.left}" x2="{WIDTH - self.right}" {at}/>')
            parts.append(label(self.left - 6, y(value) + 4, f"{value:.4g}", "end"))
        return parts

    def below(self, first: str, last: str) -> list[str]:
        """What the horizontal axis begins and ends with."""
        y = self.height - 8
        return [label(self.left, y, first), label(WIDTH - self.right, y, last, "end")]


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def ticks(low: float, high: float, steps: Sequence[float]) -> list[float]:
    """Round numbers between two: multiples of the first step that makes at most eight of them."""
    step = next((step for step in steps if (high - low) / step <= 8), steps[-1])
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def label(x: float, y: float, text: str, anchor: str = "start", kind: str = "label") -> str:
    """Text at a place; it is escaped."""
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {at}>{escape(text)}</text>'


def svg(height: float, parts: Sequence[str], title: str) -> str:
    """A figure, 720 wide in its own units; where the page is narrower than it can be, it scrolls."""
    return (
        f'<div class="scroll"><svg viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></div>'
    )
