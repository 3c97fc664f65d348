"""What tests look at in the charts of pages."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ElementTree

import pytest

needs_charts = pytest.mark.skipif(
    importlib.util.find_spec("vl_convert") is None,
    reason="vl-convert-python, which draws charts, is not installed; `make test` installs it",
)
Element = ElementTree.Element


def figures(page: str) -> list[Element]:
    """Each chart twice: for a desktop and for a phone."""
    return [ElementTree.fromstring(part) for part in re.findall(r"<svg.*?</svg>", page, re.S)]


def marks(figure: Element, name: str) -> list[Element]:
    """What is drawn in the layers of that name."""
    groups = (group for group in figure.iter("g") if f" {name}" in group.attrib.get("class", ""))
    return [mark for group in groups for mark in group]


def place(mark: Element) -> tuple[float, float]:
    """Where a mark stands in its chart, x and y."""
    found = re.match(r"translate\(([-\d.]+),([-\d.]+)\)", mark.attrib["transform"])
    assert found
    return float(found[1]), float(found[2])
