"""The report: what it reads, refuses, says, and that it shows nothing but text of others."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from charts import figures, marks, needs_charts, place
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from results import changed

from tfedge.cli import main
from tfedge.errors import InputError
from tfedge.report.read import read_results
from tfedge.report.verdict import verdicts
from tfedge.report.write import front, write_report

HOSTILE = "<script>alert(1)</script>|\"'&\x1b[31m\u202e[a](b)`x`"
POINTS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=12)


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


@needs_charts
def test_pages(race: Path, inspected: Path, tmp_path: Path) -> None:
    found = write_report([race, inspected], tmp_path / "X.html", "Toys")
    written = found.written
    assert written == [tmp_path / "X.html", tmp_path / "X.md"]
    page, text = (path.read_text(encoding="utf-8") for path in written)
    content = json.loads(race.read_text(encoding="utf-8"))
    for figure in figures(page)[:2]:  # of a desktop and of a phone
        points = marks(figure, "points")
        assert len(points) == len(content["contestants"]) == 3
        order = sorted(range(3), key=lambda index: content["contestants"][index]["mean_ms"])
        places = [place(point)[0] for point in points]
        assert [places[index] for index in order] == sorted(places)
        marked = sum(point.attrib["fill"] == "var(--series)" for point in points)
        assert marked == len(re.findall(r"^\| \d+\\\* ", text, re.M)) > 0
    for expected in ("Accuracy against time: toy.tsv", "int8_output.tflite: time, size and error"):
        assert expected in page
    for name in ("int8.tflite", "classifier.tflite", "buckets.tflite@16"):
        assert name in page
        assert name.replace("_", "\\_") in text
    assert text.startswith("# Toys\n")
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) == 6
    for table in tables:
        cells = {len(re.split(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(cells) == 1


@needs_charts
def test_counts_and_architectures(counted: Path, mission: Path, tmp_path: Path) -> None:
    written = write_report([counted, mission], tmp_path / "X.html", "Boards").written
    page, text = (path.read_text(encoding="utf-8") for path in written)
    bars = [
        [float(re.findall(r"h([\d.]+)", bar.attrib["d"])[0]) for bar in marks(figure, "bars")]
        for figure in figures(page)
    ]
    for index, shares in enumerate(([1.0, 0.05], [58.4 / 113, 1.0])):
        for drawn in bars[2 * index : 2 * index + 2]:
            assert drawn == pytest.approx([share * max(drawn) for share in shares], rel=1e-3)
    assert "| tinybert | 14.4 M | 1.25 | 233.0 | 160.0 | 20.0 x |" in text
    assert "| bert-base | 109.5 M | 22.35 | 3200.0 |  | 1.0 x |" in text
    assert "40.0 Minsn a text, 80.0 x of bert-base" in text
    assert "| a\\_int8.tflite | litert | 6.5 | 58.4 |" in text
    assert "| broken | litert |  |  |" in text


@needs_charts
def test_embeddings_are_compared_by_agreement(race: Path, tmp_path: Path) -> None:
    def without(content: dict[str, Any]) -> None:
        for row in content["contestants"]:
            del row["accuracy"]

    page, _ = write_report([changed(race, tmp_path, without)], tmp_path / "X.html", "T").written
    assert "Same answer against time" in page.read_text(encoding="utf-8")


@needs_charts
def test_a_busy_machine_is_told(race: Path, tmp_path: Path) -> None:
    for load, is_told in ((0.4, False), (1.7, True)):
        path = changed(
            race, tmp_path, lambda content, load=load: content["machine"].update(load=load)
        )
        page, _ = write_report([path], tmp_path / "X.html", "T").written
        assert ("1.7 processors were busy" in page.read_text(encoding="utf-8")) is is_told


@needs_charts
def test_hostile_names_stay_text(race: Path, inspected: Path, tmp_path: Path) -> None:
    def poison(content: dict[str, Any]) -> None:
        content["data"] = HOSTILE
        for row in content["contestants"]:
            row["name"] = row["runtime"] = row["kind"] = HOSTILE

    results = [changed(race, tmp_path, poison)]
    page, text = (
        path.read_text(encoding="utf-8")
        for path in write_report(results, tmp_path / "X.html", HOSTILE).written
    )
    seen: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: seen.update({tag, *(name for name, _ in attrs)})  # type: ignore[method-assign]
    parser.feed(page)
    assert not seen & {
        "script",
        "a",
        "img",
        "image",
        "link",
        "href",
        "src",
        "onload",
        "foreignobject",
    }
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
        ('{"models": ' + "9" * 400 + "}", "is not JSON: a number has 400 digits; 18 are allowed"),
        ('{"models": ' + "9" * 5000 + "}", "is not JSON: a number has 5000 digits"),
        ('{"mean": 1e308}', r"is not JSON: a number is 1e308; 1e\+100 is the largest that is"),
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


@needs_charts
def test_absent_file_and_command(race: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_results([tmp_path / "absent.json"])
    command = ["report", str(race), "--output", str(tmp_path / "r.html")]
    outcome = CliRunner().invoke(main, command)
    assert outcome.exit_code == 0
    lines = outcome.output.splitlines()
    assert lines[0].startswith("int8.tflite: ")
    assert lines[-2:] == [str(tmp_path / "r.html"), str(tmp_path / "r.md")]
    found = json.loads(CliRunner().invoke(main, [*command, "--json"]).output)
    assert found["verdicts"][0]["sentence"] == lines[0]
    assert found["written"] == lines[-2:]
    outcome = CliRunner().invoke(main, ["report", str(race), "--output", "x.md"])
    assert outcome.exit_code == 2
    assert "X.html" in outcome.output


def test_verdict_of_a_race(race: Path, counted: Path, tmp_path: Path) -> None:
    """Every figure is of the race's own rows, and beside float's."""

    def change(content: dict[str, Any]) -> None:
        ours, floats, peer = content["contestants"]
        ours.update(accuracy=0.9, size_bytes=16_000_000, mean_ms=2.0, name="a_int8.tflite")
        floats.update(accuracy=0.904, size_bytes=57_600_000, mean_ms=7.4, mode="float32")
        peer.update(kind="peer", name="org/peer int8", accuracy=0.88, mean_ms=3.0)

    results = read_results([changed(race, tmp_path, change), counted])
    (found,) = verdicts(results)
    assert found.sentence == (
        "a_int8.tflite: as accurate as float (90.0 % against 90.4 %), 3.6 times smaller, 3.7 times "
        "faster than float, 1.5 times faster than the fastest of 1 peers (org/peer int8, 88.0 %), "
        "58.4 million instructions a text"
    )
    figures = {figure.name: (figure.value, figure.float_) for figure in found.figures}
    assert figures == {
        "accuracy": (0.9, 0.904),
        "size": (16_000_000, 57_600_000),
        "speed": (2.0, 7.4),
        "fastest peer": (3.0, None),
        "instructions": (58.4, None),
    }


def test_what_was_not_raced_is_told(race: Path, tmp_path: Path) -> None:
    def alone(content: dict[str, Any]) -> None:
        content["contestants"] = content["contestants"][:1]
        del content["contestants"][0]["accuracy"], content["contestants"][0]["float_disagreement"]

    (found,) = verdicts(read_results([changed(race, tmp_path, alone)]))
    assert found.sentence.endswith("; not measured: accuracy, peers")
    assert "float" not in found.sentence


def test_verdicts_of_what_was_not_raced(
    race: Path, inspected: Path, counted: Path, mission: Path
) -> None:
    raced, looked_at, far = verdicts(read_results([race, inspected, counted, mission]))
    assert (raced.model, looked_at.model) == ("int8.tflite", "int8_output.tflite")
    assert far.sentence == "tinybert: 20 times fewer instructions than bert-base in float32"
    (alone,) = verdicts(read_results([counted]))
    assert alone.sentence == (
        "a_int8.tflite: 58.4 million instructions a text; not measured: accuracy, speed"
    )
