"""The picture of which labels are confused, and the worst of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from charts import figures, marks, needs_charts
from results import changed

from tfedge.errors import InputError
from tfedge.report.read import read_results
from tfedge.report.write import write_report
from tfedge.tasks.confusion import Pair, shown_labels, worst_pairs


def drawn(path: Path, folder: Path) -> tuple[str, str]:
    page, text = write_report([path], folder / "X.html", "T").written
    return page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")


def small(content: dict[str, Any]) -> None:
    content.update(labels=["a|b", "<c>"], confusion=[[90, 10], [0, 0]], texts=100)


def test_worst_pairs_by_hand() -> None:
    confusion = np.array([[5, 2, 0], [7, 1, 2], [0, 0, 4]])
    assert worst_pairs(confusion) == [Pair(1, 0, 7, 10), Pair(0, 1, 2, 7), Pair(1, 2, 2, 10)]
    assert worst_pairs(np.diag([1, 2])) == []


def test_labels_of_the_worst_pairs_are_shown_side_by_side() -> None:
    assert shown_labels(np.diag(range(12))) == list(range(12))
    confusion = np.diag(np.full(30, 100))
    for index in range(10):
        confusion[index, 29 - index] = 10 - index
    assert shown_labels(confusion) == [0, 29, 1, 28, 2, 27, 3, 26, 4, 25, 5, 24]
    assert shown_labels(np.diag(np.full(30, 100))) == []


@needs_charts
def test_many_labels(judged: Path, tmp_path: Path) -> None:
    """19 is taken for 0, 18 for 19 and so on: ten pairs have eleven labels."""
    page, text = drawn(judged, tmp_path)
    wide, narrow = figures(page)
    assert "These are the labels that are confused most; 9 others are not drawn." in text
    for figure in (wide, narrow):
        assert len(marks(figure, "cells")) == 11 * 11
        fills = [cell.attrib["fill"] for cell in marks(figure, "cells")]
        assert (fills.count("var(--series)"), fills.count("var(--worst)")) == (11, 10)
        counts = {text.text for text in marks(figure, "counts")}
        assert {"81", "19", "100"} <= counts
    assert [line.text[:2] for line in marks(wide, "rows")][:2] == ["1 ", "2 "]
    assert len(marks(narrow, "key")) == 11
    rows = re.findall(r"^\| an intent .*$", text, re.M)
    assert len(rows) == 10
    assert rows[0].endswith("long 19 | an intent whose name is long 0 | 19 | 100 | 19.0 % |")


@needs_charts
def test_shades_are_shares_of_rows(judged: Path, tmp_path: Path) -> None:
    page, _ = drawn(changed(judged, tmp_path, small), tmp_path)
    for figure in figures(page):
        cells = marks(figure, "cells")
        found = [(cell.attrib["fill"], float(cell.attrib["opacity"])) for cell in cells]
        assert found[:2] == [("var(--series)", pytest.approx(0.462)), ("var(--worst)", 0.5)]
        assert [fill for fill, _ in found[2:]] == ["var(--raised)"] * 2
    assert "10 of 100 a|b are taken for &lt;c&gt;" in page


@needs_charts
def test_nothing_is_confused(judged: Path, tmp_path: Path) -> None:
    def right(content: dict[str, Any]) -> None:
        content["confusion"] = np.diag(np.full(20, 100)).tolist()

    page, text = drawn(changed(judged, tmp_path, right), tmp_path)
    assert figures(page) == []
    assert "90.5 % of 2,000 texts of test.tsv are labelled rightly" in text


@pytest.mark.parametrize("confusion", [[], [[1]] * 20, [[1] * 20] * 19])
def test_confusion_of_other_labels_is_refused(
    judged: Path, tmp_path: Path, confusion: list[list[int]]
) -> None:
    path = changed(judged, tmp_path, lambda content: content.update(confusion=confusion))
    with pytest.raises(InputError, match="a confusion that is not 20 rows of as many numbers"):
        read_results([path])


def test_counts_below_0_are_refused(judged: Path, tmp_path: Path) -> None:
    def less(content: dict[str, Any]) -> None:
        content["confusion"][0][0] = -1

    with pytest.raises(InputError, match=r"confusion\.0\.0: Input should be greater"):
        read_results([changed(judged, tmp_path, less)])
