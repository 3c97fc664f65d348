"""Charts: nothing covers another, nothing is cut, and text stays text."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import pairwise

import pytest
from charts import marks, needs_charts, place
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge.errors import InputError
from tfedge.show.draw import svg
from tfedge.show.plots import (
    NARROW,
    WIDE,
    Axes,
    Chart,
    Point,
    bar_chart,
    point_chart,
    range_chart,
    spread,
)

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e"
LONG = "bert/encoder.layer.0.attention.self.a-name-that-is-longer-than-any-chart-is-wide" * 2
WIDTHS = pytest.mark.parametrize("width", [WIDE, NARROW])


@settings(deadline=None)  # scipy is loaded by the first call
@given(st.lists(st.floats(-50, 350), min_size=1, max_size=15))
def test_spread(places: list[float]) -> None:
    found = spread(places, 20, 300)
    assert min(found) >= -1e-6
    assert max(found) <= 300 + 1e-6
    assert all(after - before > 20 - 1e-6 for before, after in pairwise(sorted(found)))
    order = sorted(range(len(places)), key=lambda index: places[index])
    assert [found[index] for index in order] == sorted(found)


def test_what_is_apart_stays() -> None:
    assert spread([250.0, 10.0, 100.0], 20, 300) == pytest.approx([250, 10, 100])
    assert spread([100.0, 100.0], 20, 300) == pytest.approx([90, 110])


def drawn(points: list[Point], width: int) -> ElementTree.Element:
    axes = Axes(("time", "accuracy, %"), (0.5, 20), (80, 100), is_log=True)
    return ElementTree.fromstring(svg(point_chart(points, [0], axes, HOSTILE), width))


@needs_charts
@WIDTHS
def test_equal_points_are_named_apart(width: int) -> None:
    points = [Point(2.0, 90.0, f"tip {i}", "dot", f"name {i}", str(i + 1)) for i in range(12)]
    figure = drawn(points, width)
    assert len(marks(figure, "points")) == 12
    heights = sorted(place(name)[1] for name in marks(figure, "names"))
    assert all(after - before >= 16.9 for before, after in pairwise(heights))
    if width == NARROW:
        key = [line.text for line in marks(figure, "key")]
        assert key == [f"{i + 1}  name {i}" for i in range(12)]


@needs_charts
@WIDTHS
def test_hostile_and_long_names(width: int) -> None:
    names = (HOSTILE, LONG)
    points = [Point(i + 1, 90.0, name, "worst", name, str(i)) for i, name in enumerate(names)]
    charts = [
        drawn(points, width),
        ElementTree.fromstring(svg(bar_chart([(name, "1 ms", 1.0) for name in names], ""), width)),
    ]
    for figure in charts:
        tags = {item.tag for item in figure.iter()}
        assert tags <= {"svg", "g", "path", "line", "text", "title"}
        text = " ".join(figure.itertext())
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\u2026" in text  # what is too long is cut where it can be seen
        assert {
            name for item in figure.iter() for name in item.attrib if name.startswith("on")
        } == set()


@needs_charts
@WIDTHS
@pytest.mark.parametrize("ends", [(0.0, 0.0), (-1e-5, 1e-5), (-3.0, 80.0), (-1e9, 2e9)])
def test_ranges_of_any_size(ends: tuple[float, float], width: int) -> None:
    figure = ElementTree.fromstring(svg(range_chart([("a", ends)], 1e-3, "ranges"), width))
    assert len(marks(figure, "ranges")) == 1
    assert any(text.text == "0" for text in figure.iter("text"))
    assert "NaN" not in ElementTree.tostring(figure, encoding="unicode")


_AXES = Axes(("x", "y"), (1, 1e6), (0, 1))
TOO_MANY: dict[str, Callable[[], Chart]] = {
    "1,001 bars": lambda: bar_chart([("a", "1", 1.0)] * 1001, "t"),
    "10,001 points": lambda: point_chart([Point(1, 0, "a")] * 10_001, [], _AXES, "t"),
    "1,001 names": lambda: point_chart([Point(1, 0, "a", name="a")] * 1001, [], _AXES, "t"),
    "10,001 ranges": lambda: range_chart([("a", (0.0, 1.0))] * 10_001, 0.1, "t"),
}


@pytest.mark.parametrize("what", TOO_MANY)
def test_more_than_anybody_reads(what: str) -> None:
    with pytest.raises(InputError, match=f"t: {what} are too many for a chart; give at most "):
        TOO_MANY[what]()
