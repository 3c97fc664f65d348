"""Charts in Vega-Lite, which `tfedge.show.draw` makes SVG of.

Colours are the page's CSS variables, so they follow its light or dark. Each is drawn for a desktop and
for a phone, and the page shows the one that fits.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfedge.errors import InputError
from tfedge.show.numbers import visible

Spec = dict[str, Any]
WIDE, NARROW = 1200, 350  # CSS pixels
# Bars and names, and marks without one, which take seconds.
_MOST_NAMES, _MOST_MARKS = 1000, 10_000
_GAP = 17  # between the middles of lines of text
_LINE_OF_KEY = 20
_NAMES = 330  # what names take of a wide chart
_CONFIG: Spec = {
    "font": "sans-serif",  # what widths are measured with; the page has its own
    "view": {"stroke": None},
    "axis": {
        **dict.fromkeys(("labelColor", "titleColor"), "var(--soft)"),
        **dict.fromkeys(("gridColor", "domainColor", "tickColor"), "var(--rule)"),
        **dict.fromkeys(("labelFontSize", "titleFontSize"), 13),
        "titleFontWeight": "normal",
        "labelOverlap": "greedy",
        "labelSeparation": 8,
    },
    "text": {"fontSize": 13, "color": "var(--ink)"},
}

_LINE: Spec = {"color": "var(--series)", "opacity": 0.5, "strokeWidth": 1.5}
_LEADER: Spec = {"color": "var(--rule)", "strokeWidth": 1}
_DOT: Spec = {"type": "point", "opacity": 1}
_LOOKS: Mapping[str, Spec] = {
    "dot": {"size": 90, "fill": "var(--series)", "stroke": "var(--paper)"},
    "small": {"size": 22, "fill": "var(--series)", "stroke": "var(--series)"},
    "worst": {"size": 90, "fill": "var(--worst)", "stroke": "var(--paper)"},
    "beaten": {"size": 80, "fill": "var(--paper)", "stroke": "var(--soft)"},  # hollow
}
_LOOKS_OF: Spec = {
    "size": {"field": "size", "type": "quantitative", "scale": None},
    "fill": {"field": "fill", "type": "nominal", "scale": None},
    "stroke": {"field": "stroke", "type": "nominal", "scale": None},
    "description": {"field": "tip", "type": "nominal"},
}
_SHADES = {"right": "var(--series)", "wrong": "var(--worst)", "none": "var(--raised)"}
_FAINT, _STRONG = 0.12, 0.5  # opacity of shades; beyond, text on them is hard to read in the dark
_MIDDLE: Spec = {"type": "text", "baseline": "middle", "align": "center"}
_LETTER = 7.9  # pixels, in the widest of usual fonts


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart before it is drawn: what makes its Vega-Lite of a width in pixels."""

    title: str  # for who hears the page
    spec: Callable[[int], Spec]


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of a chart."""

    x: float
    y: float
    tip: str  # what is shown where a mouse rests
    look: str = "dot"  # a key of `_LOOKS`
    name: str = ""  # written beside the chart; empty: only the tip names it
    number: str = ""  # written where there is no room for the name, which a key below has


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a matrix: where it stands, counted from 0, what is written there, and its shade."""

    row: int
    column: int
    text: str
    tip: str
    look: str  # a key of `_SHADES`
    strength: float = 0.0  # 0 to 1


@dataclasses.dataclass(frozen=True)
class Axes:
    """What points are drawn on: titles, and the ends of both axes."""

    titles: tuple[str, str]
    x: tuple[float, float]
    y: tuple[float, float]
    is_log: bool = False  # along x
    has_x_labels: bool = True


def escape(text: str) -> str:
    """Text from a file, safe in HTML, in an attribute too."""
    return html.escape(visible(text), quote=True)


def _refuse_more(title: str, what: str, count: int, most: int) -> None:
    if count > most:
        raise InputError(
            f"{title}: {count:,} {what} are too many for a chart; give at most {most:,}"
        )


def bar_chart(rows: Sequence[tuple[str, str, float]], title: str) -> Chart:
    """Bars, each a name, its figure in words and its length, 1 the longest; raises InputError where
    they are more than anybody reads."""
    _refuse_more(title, "bars", len(rows), _MOST_NAMES)

    def spec(width: int) -> Spec:
        is_wide = width >= WIDE
        left, right = (_NAMES, 200) if is_wide else (0, 0)
        inner = width - left - right
        values = []
        for index, (name, figure, share) in enumerate(rows):
            room = left - 14 if is_wide else inner - _LETTER * (len(figure) + 1)
            texts = {"name": _short(name, room), "figure": visible(figure)}
            values.append({"row": index, "share": share, **texts})
        # On a phone a bar begins below its name and figure.
        above, below = ({}, {}) if is_wide else ({"yOffset": -10}, {"yOffset": 8})
        at: Spec = _field("share", scale={"domain": [0, 1]}, axis=None)
        bar = {"type": "bar", "height": 12, "color": "var(--series)", **below}
        named = {"type": "text", "align": "right" if is_wide else "left", **above}
        told = {"type": "text", "align": "left" if is_wide else "right", **above}
        layers = [
            _layer("bars", bar, x=at),
            _layer("names", named, x={"value": -10 if is_wide else 0}, text=_text("name")),
            _layer(
                "figures",
                {**told, "dx": 8 if is_wide else 0},
                x=at if is_wide else {"value": inner},
                text=_text("figure"),
            ),
        ]
        across = {"field": "row", "type": "ordinal", "axis": None, "scale": {"padding": 0}}
        size = inner, (26 if is_wide else 42) * len(rows)
        return _spec(size, (left, 2, right, 2), values, layers, {"y": across})

    return Chart(title, spec)


def point_chart(points: Sequence[Point], line: Sequence[int], axes: Axes, title: str) -> Chart:
    """Points, those at the indices `line` joined; names stand in a column beside them, or on a phone
    in a key below, so that none covers another. Raises InputError as `bar_chart`."""
    _refuse_more(title, "points", len(points), _MOST_MARKS)
    _refuse_more(title, "names", sum(bool(point.name) for point in points), _MOST_NAMES)

    def spec(width: int) -> Spec:
        is_wide = width >= WIDE
        # From the right of those that are equally high, so that no leader crosses another there.
        named = sorted((point for point in points if point.name), key=lambda point: -point.x)
        column = (_NAMES if is_wide else 30) if named else 24
        height = max(340 if is_wide else 260, _GAP * len(named))
        left = 60
        inner = width - left - column
        key = [] if is_wide else sorted(named, key=lambda point: int(point.number))
        bottom = 50 + _LINE_OF_KEY * len(key)
        low, high = axes.y
        heights = [height * (high - point.y) / (high - low) for point in named]
        places = spread(heights, _GAP, height) if named else []
        labels = [
            {
                **_datum(point),
                "at": high - place / height * (high - low),
                "name": _short(point.name, column - 14),
            }
            for point, place in zip(named, places, strict=True)
        ]
        layers = [
            _layer("line", {"type": "line", **_LINE}, [_datum(points[index]) for index in line]),
            _layer("leaders", {"type": "rule", **_LEADER}, labels)
            | {"encoding": {**_leader(inner), "x": _x(axes, is_wide), "y": _y(axes)}},
            _layer("points", _DOT, [_datum(point) for point in points], **_LOOKS_OF),
            _layer(
                "names",
                {"type": "text", "align": "left", "baseline": "middle"},
                labels,
                x={"value": inner + 10},
                y=_y(axes, "at"),
                text=_text("name" if is_wide else "number"),
            ),
            *(
                _key(index, f"{point.number}  {point.name}", height + 60, left, width)
                for index, point in enumerate(key)
            ),
        ]
        encoding = {"x": _x(axes, is_wide), "y": _y(axes)}
        return _spec((inner, height), (left, 30, column, bottom), [], layers, encoding)

    return Chart(title, spec)


def range_chart(ranges: Sequence[tuple[str, Sequence[float]]], linear: float, title: str) -> Chart:
    """A bar from low to high for each of `ranges`, a tip and both ends, on an axis that is
    logarithmic but for values nearer to 0 than `linear`. Raises InputError as `bar_chart`."""
    _refuse_more(title, "ranges", len(ranges), _MOST_MARKS)
    reach = max((abs(end) for _, found in ranges for end in found), default=1.0) or 1.0
    top = math.ceil(math.log10(reach)) if reach > linear else -2
    powers = [10.0**power for power in range(top, -3, -max(1, (top + 3) // 3))]
    marks = [0.0, *(sign * power for power in powers if power <= reach for sign in (1, -1))]
    values = [
        {"x": index, "low": low, "high": high, "tip": visible(tip)}
        for index, (tip, (low, high)) in enumerate(ranges)
    ]

    def spec(width: int) -> Spec:
        scale = {"type": "symlog", "constant": linear, "domain": [-reach, reach], "nice": False}
        y = _field("low", scale=scale, axis={"values": marks, "format": ".4~g", "title": None})
        ends = {"domain": [0, max(1, len(ranges) - 1)], "nice": False}
        axis = {"title": "operators, first to last", "labels": False, "ticks": False, "grid": False}
        mark = {"type": "rule", "color": "var(--series)", "strokeWidth": 2}
        layer = _layer("ranges", mark, y2={"field": "high"}, description=_text("tip"))
        encoding = {"x": _field("x", scale=ends, axis=axis), "y": y}
        height = 300 if width >= WIDE else 240
        size = (width - 84, height)
        return _spec(size, (60, 12, 24, 34), values, [layer], encoding)

    return Chart(title, spec)


def matrix_chart(names: Sequence[str], cells: Sequence[Cell], title: str) -> Chart:
    """Cells of as many rows as columns, which have numbers; the names beside the rows, or on a phone in
    a key below, say whose they are. What is wider than its cell is not written there."""
    count = len(names)

    def spec(width: int) -> Spec:
        is_wide = width >= WIDE
        left, widest, high = (_NAMES, 90, 34) if is_wide else (28, 60, 30)
        inner = min(width - left - 6, widest * count)
        top, bottom = 26, 4 if is_wide else 20 + _LINE_OF_KEY * count
        texts = [f"{place}  {name}" for place, name in enumerate(names, start=1)]
        numbers = [str(place + 1) for place in range(count)]
        rows = [_short(text, left - 14) for text in texts] if is_wide else numbers
        key = [] if is_wide else texts
        layers = [
            _layer(
                "cells",
                {"type": "rect"},
                **{name: _LOOKS_OF[name] for name in ("fill", "description")},
                opacity=_field("opacity", scale=None),
            ),
            _layer("counts", _MIDDLE, text=_text("text")),
            _layer(
                "rows",
                {**_MIDDLE, "align": "left", "color": "var(--soft)"},
                [{"row": place, "name": name} for place, name in enumerate(rows)],
                x={"value": 8 - left},
                y=_band("row"),
                text=_text("name"),
            ),
            _layer(
                "columns",
                {**_MIDDLE, "color": "var(--soft)"},
                [{"column": place, "name": name} for place, name in enumerate(numbers)],
                x=_band("column"),
                y={"value": -12},
                text=_text("name"),
            ),
            *(_key(i, text, high * count + 20, left, width) for i, text in enumerate(key)),
        ]
        values = [_shaded(cell, inner / count) for cell in cells]
        encoding = {"x": _band("column"), "y": _band("row")}
        sides = left, top, width - left - inner, bottom
        return _spec((inner, high * count), sides, values, layers, encoding)

    return Chart(title, spec)


def _shaded(cell: Cell, width: float) -> Spec:
    opacity = 1 if cell.look == "none" else _FAINT + (_STRONG - _FAINT) * cell.strength
    return {
        "row": cell.row,
        "column": cell.column,
        "text": cell.text if _LETTER * len(cell.text) <= width else "",
        "tip": visible(cell.tip),
        "fill": _SHADES[cell.look],
        "opacity": opacity,
    }


def spread(places: Sequence[float], gap: float, length: float) -> list[float]:
    """The places from 0 to `length` that are nearest to those given, in their order, and at least `gap`
    apart: without the gaps they are an isotonic regression."""
    from scipy.optimize import isotonic_regression  # takes long, and few commands draw

    order = np.argsort(places, kind="stable")
    gaps = gap * np.arange(len(places))
    sunk = isotonic_regression(np.asarray(places, np.float64)[order] - gaps).x
    found = np.empty(len(places))
    found[order] = sunk.clip(0, length - gaps[-1]) + gaps
    return found.tolist()


def _short(text: str, width: float) -> str:
    """Text that takes no more pixels, cut where it says least: names differ at their ends."""
    text, most = visible(text), max(8, int(width / _LETTER))
    if len(text) <= most:
        return text
    head = most // 3
    return f"{text[:head]}\u2026{text[len(text) - (most - head - 1) :]}"


def _datum(point: Point) -> Spec:
    texts = {name: visible(getattr(point, name)) for name in ("tip", "name", "number")}
    return {"x": point.x, "y": point.y, **_LOOKS[point.look], **texts}


def _field(name: str, **more: Any) -> Spec:
    return {"field": name, "type": "quantitative", **more}


def _band(name: str) -> Spec:
    return {"field": name, "type": "ordinal", "axis": None, "scale": {"padding": 0.04}}


def _text(name: str) -> Spec:
    return {"field": name, "type": "nominal"}


def _x(axes: Axes, is_wide: bool) -> Spec:
    kind = "log" if axes.is_log else "linear"
    scale = {"type": kind, "domain": list(axes.x), "nice": False}
    labels: Spec = {"tickCount": 10 if is_wide else 3}
    if not axes.has_x_labels:
        labels = {"labels": False, "ticks": False, "grid": False}
    return _field("x", scale=scale, axis={"title": axes.titles[0], "format": ".4~g", **labels})


def _y(axes: Axes, field: str = "y") -> Spec:
    scale = {"domain": list(axes.y), "nice": False, "zero": False}
    title = {"titleAngle": 0, "titleAlign": "left", "titleX": -58, "titleY": -14}
    return _field(field, scale=scale, axis={"title": axes.titles[1], "tickCount": 7, **title})


def _leader(inner: int) -> Spec:
    return {"x2": {"value": inner + 6}, "y2": {"field": "at"}}


def _key(index: int, text: str, top: int, left: int, width: int) -> Spec:
    """A line of the key below a narrow chart, whose first stands at `top`."""
    mark = {"type": "text", "align": "left"}
    at = {"x": {"value": -left}, "y": {"value": top + _LINE_OF_KEY * index}}
    return _layer("key", mark, [{"text": _short(text, width)}], text=_text("text"), **at)


def _layer(name: str, mark: Spec, values: Sequence[Spec] | None = None, **encoding: Any) -> Spec:
    data = {} if values is None else {"data": {"values": list(values)}}
    return {"name": name, "mark": dict(mark), "encoding": encoding, **data}


def _spec(
    size: tuple[int, int],
    padding: tuple[int, int, int, int],
    values: Sequence[Spec],
    layers: Sequence[Spec],
    encoding: Spec,
) -> Spec:
    """A whole chart; `padding` is left, top, right and bottom of what is drawn inside."""
    sides = dict(zip(("left", "top", "right", "bottom"), padding, strict=True))
    named = [{**layer, "name": f"{layer['name']}{i}"} for i, layer in enumerate(layers)]
    return {
        "width": size[0],
        "height": size[1],
        "padding": sides,
        "autosize": {"type": "none"},
        "background": None,
        "config": _CONFIG,
        "data": {"values": list(values)},
        "encoding": encoding,
        "layer": named,
    }
