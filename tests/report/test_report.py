"""The report: what it reads, refuses, says, and that it shows nothing but text of others."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tfedge.cli import main
from tfedge.errors import InputError
from tfedge.report.read import read_results
from tfedge.report.write import front, write_report

HOSTILE = "<script>alert(1)</script>|\"'&\x1b[31m\u202e[a](b)`x`"
POINTS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=12)


def changed(path: Path, folder: Path, change: Any) -> Path:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    made = folder / "changed.json"
    made.write_text(json.dumps(content), encoding="utf-8")
    return made


def figures(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(part) for part in re.findall(r"<svg.*?</svg>", page, re.S)]


@given(POINTS)
def test_front_by_its_definition(points: list[tuple[int, int]]) -> None:
    costs, worths = zip(*points, strict=True)
    found = front(points)
    for index, (cost, worth) in enumerate(points):
        is_beaten = any(
            other != index
            and costs[other] <= cost
            and worths[other] >= worth
            and ((costs[other], worths[other]) != (cost, worth) or other < index)
            for other in range(len(points))
        )
        assert (index in found) != is_beaten
    assert [costs[index] for index in found] == sorted(costs[index] for index in found)


def test_pages(race: Path, inspected: Path, tmp_path: Path) -> None:
    written = write_report([race, inspected], tmp_path / "X.html", "Toys")
    assert written == [tmp_path / "X.html", tmp_path / "X.md"]
    page, text = (path.read_text(encoding="utf-8") for path in written)
    content = json.loads(race.read_text(encoding="utf-8"))
    circles = figures(page)[0].findall("circle")
    assert len(circles) == len(content["contestants"]) == 3
    order = sorted(range(3), key=lambda index: content["contestants"][index]["mean_ms"])
    places = [float(circle.attrib["cx"]) for circle in circles]
    assert [places[index] for index in order] == sorted(places)
    marked = sum(circle.attrib["class"] == "dot" for circle in circles)
    assert marked == len(re.findall(r"^\| \d+\\\* ", text, re.M)) > 0
    for expected in ("Accuracy against time: toy.tsv", "int8_output.tflite: time, size and error"):
        assert expected in page
    for name in ("int8.tflite", "classifier.tflite", "buckets.tflite@16"):
        assert name in page
        assert name.replace("_", "\\_") in text
    assert text.startswith("# Toys\n")
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) == 5
    for table in tables:
        cells = {len(re.split(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(cells) == 1


def test_counts_and_architectures(counted: Path, mission: Path, tmp_path: Path) -> None:
    written = write_report([counted, mission], tmp_path / "X.html", "Boards")
    page, text = (path.read_text(encoding="utf-8") for path in written)
    bars = [
        [float(bar.attrib["width"]) for bar in figure.findall("rect")] for figure in figures(page)
    ]
    assert bars == [[720.0, 36.0], [pytest.approx(720 * 58.4 / 113, abs=0.1), 720.0]]
    assert "| tinybert | 14.4 M | 1.25 | 233.0 | 160.0 | 20.0 x |" in text
    assert "| bert-base | 109.5 M | 22.35 | 3200.0 |  | 1.0 x |" in text
    assert "40.0 Minsn a text, 80.0 x of bert-base" in text
    assert "| a\\_int8.tflite | litert | 6.5 | 58.4 |" in text
    assert "| broken | litert |  |  |" in text


def test_embeddings_are_compared_by_agreement(race: Path, tmp_path: Path) -> None:
    def without(content: dict[str, Any]) -> None:
        for row in content["contestants"]:
            del row["accuracy"]

    page, _ = write_report([changed(race, tmp_path, without)], tmp_path / "X.html", "T")
    assert "Same answer against time" in page.read_text(encoding="utf-8")


def test_a_busy_machine_is_told(race: Path, tmp_path: Path) -> None:
    for load, is_told in ((0.4, False), (1.7, True)):
        path = changed(
            race, tmp_path, lambda content, load=load: content["machine"].update(load=load)
        )
        page, _ = write_report([path], tmp_path / "X.html", "T")
        assert ("1.7 processors were busy" in page.read_text(encoding="utf-8")) is is_told


def test_hostile_names_stay_text(race: Path, inspected: Path, tmp_path: Path) -> None:
    def poison(content: dict[str, Any]) -> None:
        content["data"] = HOSTILE
        for row in content["contestants"]:
            row["name"] = row["runtime"] = HOSTILE

    results = [changed(race, tmp_path, poison)]
    page, text = (
        path.read_text(encoding="utf-8")
        for path in write_report(results, tmp_path / "X.html", HOSTILE)
    )
    seen: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: seen.update({tag, *(name for name, _ in attrs)})  # type: ignore[method-assign]
    parser.feed(page)
    assert not seen & {"script", "a", "img", "link", "href", "src", "onload"}
    for form in (page, text):
        assert "<script" not in form
        assert "\x1b" not in form
        assert "\u202e" not in form
    assert "[a](b)" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "not a JSON object, but a list"),
        ("{}", "nothing to report on"),
        ('{"contestants": []}', "not as `tfedge bench --json` makes it: data"),
        ('{"operators": 3, "signatures": 1}', "not as `tfedge inspect --json` makes it"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_results([path])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, True, -1])
def test_times_are_numbers(race: Path, tmp_path: Path, value: Any) -> None:
    def change(content: dict[str, Any]) -> None:
        content["contestants"][1]["mean_ms"] = value

    with pytest.raises(InputError, match=r"contestants\.1\.mean_ms"):
        read_results([changed(race, tmp_path, change)])


def test_absent_file_and_command(race: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_results([tmp_path / "absent.json"])
    outcome = CliRunner().invoke(main, ["report", str(race), "--output", str(tmp_path / "r.html")])
    assert outcome.exit_code == 0
    assert outcome.output.split() == [str(tmp_path / "r.html"), str(tmp_path / "r.md")]
    outcome = CliRunner().invoke(main, ["report", str(race), "--output", "x.md"])
    assert outcome.exit_code == 2
    assert "X.html" in outcome.output
