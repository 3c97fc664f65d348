"""Draws charts as inline SVG, by Vega-Lite."""

from __future__ import annotations

import importlib
from typing import Any
from xml.etree import ElementTree

from tfedge.errors import MissingPackageError
from tfedge.show.numbers import visible
from tfedge.show.plots import WIDE, Chart

_VEGA_LITE = "5.20"  # the newest that all allowed versions of vl-convert-python have


def renderer() -> Any:
    """The module that draws Vega-Lite; raises MissingPackageError where vl-convert-python is not
    installed."""
    try:
        return importlib.import_module("vl_convert")
    except ImportError as error:
        raise MissingPackageError(
            f"charts need vl-convert-python ({error}): `pip install 'vl-convert-python>=1.7,<2'`"
        ) from error


def svg(chart: Chart, width: int) -> str:
    """A chart drawn; raises as `renderer`."""
    drawn = renderer().vegalite_to_svg(chart.spec(width), vl_version=_VEGA_LITE)
    root = ElementTree.fromstring(drawn)
    _plain(root, has_tips=width >= WIDE)
    size = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": visible(chart.title)}
    root.attrib.clear()
    root.attrib.update(size)
    return ElementTree.tostring(root, encoding="unicode")


def _plain(root: ElementTree.Element, has_tips: bool) -> None:
    """Leaves of Vega's SVG what is drawn: names without their namespace, tips as titles."""
    for item in root.iter():
        item.tag = item.tag.rpartition("}")[2]
        tip = item.attrib.get("aria-label")
        is_mark = item.attrib.get("aria-roledescription") in ("point", "rule mark", "rect mark")
        if has_tips and tip and is_mark and item.tag in ("path", "line"):
            ElementTree.SubElement(item, "title").text = tip
        for name in list(item.attrib):
            if name.startswith("aria-") or name in ("role", "pointer-events", "font-family"):
                del item.attrib[name]
        for child in list(item):
            if child.attrib.get("class") in ("background", "foreground") and not len(child):
                item.remove(child)
