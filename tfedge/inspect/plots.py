"""Plots as inline SVG. Colours are the page's CSS variables, so they follow its light or dark."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tfedge.inspect.numbers import amount, interval, milliseconds, percent, visible

Report = dict[str, Any]
Scale = Callable[[float], float]
_WIDTH = 720
_HEIGHT = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 34
_BAR = 22
_BARS = 8  # more types than that go together into one bar
# Below this a range is as good as 0 on the symmetric logarithmic axis.
_LINEAR = 1e-3


def escape(text: str) -> str:
    """Text from a file, safe in HTML, in an attribute too."""
    return html.escape(visible(text), quote=True)


def snr_plot(noise: Report) -> str:
    """Signal-to-noise of each layer along the network; the worst are marked and numbered."""
    layers = [row for row in noise["layers"] if row["snr_db"] is not None]
    if not layers:
        return ""
    values = [row["snr_db"] for row in layers]
    low, high = min(0.0, *values), max(10.0, *values)
    x = scale(0, max(1, len(layers) - 1), _LEFT + 6, _WIDTH - _RIGHT - 6)
    y = scale(low, high, _HEIGHT - _BOTTOM, _TOP)
    parts = _grid(y, _ticks(low, high), lambda value: f"{value:g}")
    points = " ".join(f"{x(index):.1f},{y(value):.1f}" for index, value in enumerate(values))
    parts.append(f'<polyline class="line" fill="none" points="{points}"/>')
    ranks = {layer: rank for rank, layer in enumerate(noise["worst"], start=1)}
    for index, row in enumerate(layers):
        rank = ranks.get(row["layer"])
        at = f'cx="{x(index):.1f}" cy="{y(row["snr_db"]):.1f}"'
        title = f"<title>{escape(row['layer'])}: {row['snr_db']:.1f} dB</title>"
        kind = 'class="worst" r="5"' if rank else 'class="dot" r="2.5"'
        parts.append(f"<circle {kind} {at}>{title}</circle>")
        if rank:
            side, gap = ("end", -9) if index > len(layers) - 4 else ("start", 9)
            parts.append(label(x(index) + gap, y(row["snr_db"]) + 4, str(rank), side, "mark"))
    parts.append(label(_LEFT, _HEIGHT - 8, "first layer"))
    parts.append(label(_WIDTH - _RIGHT, _HEIGHT - 8, "last layer", "end"))
    return svg(_HEIGHT, parts, "Signal-to-noise in dB along the network's depth")


def cost_plot(summary: Sequence[Report]) -> str:
    """The share of the cost of each type of operator and dtype."""
    shares: dict[str, list[int]] = {}
    for row in summary:
        found = shares.setdefault(f"{row['operator']} {row['dtype']}", [0, 0])
        found[0] += row["cost"]
        found[1] += row["count"]
    if not shares:
        return ""
    bars = sorted(shares.items(), key=lambda item: -item[1][0])
    if len(bars) > _BARS:
        rest = [sum(column) for column in zip(*(found for _, found in bars[_BARS:]), strict=True)]
        bars = [*bars[:_BARS], (f"{len(bars) - _BARS} other types", rest)]
    total = max(1, sum(found[0] for _, found in bars))
    rows = [
        (f"{name} \u00d7 {count}", f"{amount(units)}, {percent(units / total)}", units / total)
        for name, (units, count) in bars
    ]
    return bar_plot(rows, "Cost by type of operator and dtype")


def time_plot(timing: Report) -> str:
    """What each part takes, in the order in which they run."""
    rows = [
        (
            part["name"],
            f"{milliseconds(part['median_s'])}, {percent(part['median_s'] / timing['total_s'])}",
            part["median_s"] / timing["total_s"],
        )
        for part in timing["parts"]
    ]
    return bar_plot(rows, "Time by part of the network")


def bar_plot(rows: Sequence[tuple[str, str, float]], title: str) -> str:
    """Bars, each a name, its figure in words and its length, 1 the whole width."""
    # A bar begins below its name and figure: names may be long, and a phone shows only what is left.
    parts = []
    for index, (name, figure, share) in enumerate(rows):
        top = index * 2 * _BAR
        parts.append(label(0, top + 15, f"{name}: {figure}"))
        width = max(1.0, share * _WIDTH)
        parts.append(f'<rect class="bar" x="0" y="{top + _BAR}" width="{width:.1f}" height="10"/>')
    return svg(len(rows) * 2 * _BAR, parts, title)


def range_plot(operators: Sequence[Report]) -> str:
    """The range of every quantised output along the network, on a symmetric logarithmic axis."""
    rows = [row for row in operators if row["range"]]
    if not rows:
        return ""
    ends = [end for row in rows for end in row["range"]]
    reach = max(map(abs, ends)) or 1.0
    x = scale(0, max(1, len(rows) - 1), _LEFT + 6, _WIDTH - _RIGHT - 6)
    bound = _symmetric_log(reach)
    line = scale(-bound, bound, _HEIGHT - _BOTTOM, _TOP)

    def y(value: float) -> float:
        return line(_symmetric_log(value))

    top = math.ceil(math.log10(reach)) if reach > _LINEAR else -2
    powers = [10.0**power for power in range(top, -3, -max(1, (top + 3) // 3))]
    ticks = [0.0, *(sign * power for power in powers if power <= reach for sign in (1, -1))]
    parts = _grid(y, ticks, lambda value: f"{value:g}")
    for index, row in enumerate(rows):
        low, high = row["range"]
        title = f"<title>{escape(row['layer'])}: {interval(row['range'])}</title>"
        at = f'x1="{x(index):.1f}" x2="{x(index):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}"'
        parts.append(f'<line class="range" {at}>{title}</line>')
    parts.append(label(_LEFT, _HEIGHT - 8, "first operator"))
    parts.append(label(_WIDTH - _RIGHT, _HEIGHT - 8, "last operator", "end"))
    return svg(_HEIGHT, parts, "Ranges of quantised outputs along the network's depth")


def _symmetric_log(value: float) -> float:
    return math.copysign(math.log10(1 + abs(value) / _LINEAR), value)


def scale(low: float, high: float, start: float, end: float) -> Scale:
    """Maps low..high to start..end."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two, at most about eight."""
    step = next(
        step for step in (5, 10, 20, 50, 100, 1000) if (high - low) / step <= 8 or step == 1000
    )
    return [
        float(value) for value in range(math.ceil(low / step) * step, math.floor(high) + 1, step)
    ]


def _grid(y: Scale, ticks: Iterable[float], name: Callable[[float], str]) -> list[str]:
    parts = []
    for value in ticks:
        kind = "zero" if value == 0 else "grid"
        at = f'y1="{y(value):.1f}" y2="{y(value):.1f}"'
        parts.append(f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" {at}/>')
        parts.append(label(_LEFT - 6, y(value) + 4, name(value), "end"))
    return parts


def label(x: float, y: float, text: str, anchor: str = "start", kind: str = "label") -> str:
    """Text at a place; it is escaped."""
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {at}>{escape(text)}</text>'


def svg(height: float, parts: Sequence[str], title: str) -> str:
    """A figure, 720 wide in its own units; where the page is narrower than it can be, it scrolls."""
    return (
        f'<div class="scroll"><svg viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></div>'
    )
