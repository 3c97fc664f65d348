"""The plots of `tfedge inspect`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tfedge.inspect.result import Group, Noise, OperatorRow
from tfedge.show.numbers import amount, interval, percent
from tfedge.show.plots import Frame, bar_plot, escape, label, svg, ticks

_FRAME = Frame()
_DECIBELS = (5, 10, 20, 50, 100, 1000)  # between lines
_BARS = 8  # more types than that go together into one bar
# Below this a range is as good as 0 on the symmetric logarithmic axis.
_LINEAR = 1e-3


def snr_plot(noise: Noise) -> str:
    """Signal-to-noise of each layer along the network; the worst are marked and numbered."""
    layers = [(row.layer, row.snr_db) for row in noise.layers if row.snr_db is not None]
    if not layers:
        return ""
    values = [snr_db for _, snr_db in layers]
    low, high = min(0.0, *values), max(10.0, *values)
    x, y = _FRAME.along(len(layers)), _FRAME.y(low, high)
    parts = _FRAME.grid(y, ticks(low, high, _DECIBELS))
    points = " ".join(f"{x(index):.1f},{y(value):.1f}" for index, value in enumerate(values))
    parts.append(f'<polyline class="line" fill="none" points="{points}"/>')
    ranks = {layer: rank for rank, layer in enumerate(noise.worst, start=1)}
    for index, (layer, snr_db) in enumerate(layers):
        rank = ranks.get(layer)
        at = f'cx="{x(index):.1f}" cy="{y(snr_db):.1f}"'
        title = f"<title>{escape(layer)}: {snr_db:.1f} dB</title>"
        kind = 'class="worst" r="5"' if rank else 'class="dot" r="2.5"'
        parts.append(f"<circle {kind} {at}>{title}</circle>")
        if rank:
            side, gap = ("end", -9) if index > len(layers) - 4 else ("start", 9)
            parts.append(label(x(index) + gap, y(snr_db) + 4, str(rank), side, "mark"))
    parts += _FRAME.below("first layer", "last layer")
    return svg(_FRAME.height, parts, "Signal-to-noise in dB along the network's depth")


def cost_plot(summary: Sequence[Group]) -> str:
    """The share of the cost of each type of operator and dtype."""
    shares: dict[str, list[int]] = {}
    for row in summary:
        found = shares.setdefault(f"{row.operator} {row.dtype}", [0, 0])
        found[0] += row.cost
        found[1] += row.count
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


def range_plot(operators: Sequence[OperatorRow]) -> str:
    """The range of every quantised output along the network, on a symmetric logarithmic axis."""
    rows = [(row.layer, row.range) for row in operators if row.range]
    if not rows:
        return ""
    ends = [end for _, found in rows for end in found]
    reach = max(map(abs, ends)) or 1.0
    bound = _symmetric_log(reach)
    x, line = _FRAME.along(len(rows)), _FRAME.y(-bound, bound)

    def y(value: float) -> float:
        return line(_symmetric_log(value))

    top = math.ceil(math.log10(reach)) if reach > _LINEAR else -2
    powers = [10.0**power for power in range(top, -3, -max(1, (top + 3) // 3))]
    marks = [0.0, *(sign * power for power in powers if power <= reach for sign in (1, -1))]
    parts = _FRAME.grid(y, marks)
    for index, (layer, (low, high)) in enumerate(rows):
        title = f"<title>{escape(layer)}: {interval((low, high))}</title>"
        at = f'x1="{x(index):.1f}" x2="{x(index):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}"'
        parts.append(f'<line class="range" {at}>{title}</line>')
    parts += _FRAME.below("first operator", "last operator")
    return svg(_FRAME.height, parts, "Ranges of quantised outputs along the network's depth")


def _symmetric_log(value: float) -> float:
    return math.copysign(math.log10(1 + abs(value) / _LINEAR), value)
