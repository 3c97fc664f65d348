"""The report and its three forms."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import bars
import pytest
from charts import figures, marks, needs_charts, place
from price_list import know_all
from program import INSTALLED
from trees import packed

from tfedge.errors import InputError, MissingPackageError
from tfedge.files import sha256
from tfedge.inspect.estimate import known_boards
from tfedge.inspect.noise import LayerNoise
from tfedge.inspect.report import InspectOptions, inspect
from tfedge.inspect.result import Noise, Report, Total
from tfedge.inspect.table import decibels, page, render
from tfedge.records import as_json
from tfedge.show.numbers import amount, interval, size, visible
from tfedge.tflite.metadata import set_runtimes

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e"
VOID = {"meta"}


def report_of(path: Path, **options: Any) -> Report:
    report = inspect(path, InspectOptions(**options), bars.Bars())
    content = as_json(report)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    return report


@pytest.fixture(scope="module")
def compared(toys: Path) -> Report:
    """The integer toy against float."""
    return report_of(toys / "int8_output.tflite", against=toys / "classifier.tflite", rows=2)


def test_operators_by_hand(tree: Any, make_file: Any) -> None:
    report = report_of(make_file(tree))
    convolution = report.operators[5]
    macs = 6 * 2 * 1 * 3 * 4
    assert (convolution.macs, convolution.layer) == (macs, "net/dense")
    assert convolution.range == (-62.5, 65.0)
    assert [item.constant for item in convolution.inputs] == [False, True]
    elements = 24 * 5 + 12 + 6  # five times 1 x 6 x 1 x 4; the sum reads 12, the cast writes 6
    total_bytes = sum(row.bytes for row in report.operators)
    assert report.total == Total(operators=8, macs=macs, elements=elements, bytes=total_bytes)
    assert convolution.share == macs / (macs + elements)
    assert sum(row.share for row in report.summary) == pytest.approx(1)
    first = report.summary[0]
    assert (first.operator, first.dtype, first.version) == ("CONV_2D", "INT8", 6)
    assert (first.count, first.cost) == (1, macs)
    assert len(report.islands) == 2
    assert report.conversions_outside == 0
    assert report.signature == "serve"
    assert report.bundle is None
    assert "no tfedge metadata" in report.bundle_note
    assert report.noise is None


def test_bundle_and_signatures(toys: Path) -> None:
    report = report_of(toys / "buckets.tflite", signature="short")
    assert report.bundle.task == "text-classification"
    assert report.bundle.labels == ("negative", "positive")
    assert report.bundle_note is None
    assert [item.key for item in report.signatures] == ["serving_default", "short"]
    lengths = [item.inputs["input_ids"].shape for item in report.signatures]
    assert lengths == [(1, 16), (1, 8)]
    assert report.signature == "short"
    assert report.operators[0].outputs[0].shape == (1, 8)


def test_noise_of_the_report(compared: Report, toys: Path) -> None:
    noise = compared.noise
    assert (noise.against, noise.rows) == (str(toys / "classifier.tflite"), 2)
    assert (noise.runtime, noise.delegate) == (INSTALLED[0], None)
    measured = {row.layer: row.snr_db for row in noise.layers if row.snr_db is not None}
    assert noise.worst == sorted(measured, key=lambda layer: measured[layer])[:5]


def test_progress_covers_both_models(toys: Path) -> None:
    made = bars.Bars()
    options = InspectOptions(against=toys / "classifier.tflite", rows=3, runtime="litert")
    inspect(toys / "int8.tflite", options, made)
    assert [(bar.done, bar.total) for bar in made] == [(6, 6)]


def test_comparison_needs_a_signature(toys: Path, tree: Any, make_file: Any) -> None:
    tree.signatureDefs = None
    path = make_file(tree)
    with pytest.raises(InputError, match="has no signature"):
        report_of(path, against=toys / "classifier.tflite")
    assert "#" in render(report_of(path))


def test_unverified_runtime_is_not_tried(toys: Path, tmp_path: Path) -> None:
    path = tmp_path / "toy.tflite"
    path.write_bytes((toys / "classifier.tflite").read_bytes())
    set_runtimes(path, ["litert"])
    with pytest.raises(MissingPackageError, match="not verified on tflite-runtime"):
        report_of(path, against=path, runtime="tflite-runtime")


# --- table


def test_table(compared: Report) -> None:
    lines = render(compared).splitlines()
    rows = [line.split() for line in lines]
    dense = next(row for row in rows if row[:2] == ["12", "FULLY_CONNECTED"])
    assert dense[2:6] == ["4", "INT8", "1x2", "PartitionedCall:0"]
    assert any(line.startswith("*") or line.lstrip().startswith("* ") for line in lines)
    text = "\n".join(lines)
    assert "Furthest from float" in text
    assert "without its default delegate" in text
    assert "float islands: 2, 2 of 13 operators compute in float" in text
    assert "cost = multiply-accumulates of FULLY_CONNECTED" in text


def test_table_of_a_model_alone(toys: Path) -> None:
    text = render(report_of(toys / "classifier.tflite"))
    assert "SNR" not in text
    assert "between the inputs and the outputs; no conversion" in text


def test_estimated_times(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the graph that is shown."""
    model = toys / "buckets.tflite"
    know_all(monkeypatch, model)
    report = report_of(model)
    assert report.estimates is not None
    assert list(report.estimates.boards) == ["rpi4", "rpi5"]
    assert report.estimates.boards["rpi4"].tokens == 16
    (told,) = (line for line in render(report).splitlines() if "estimated" in line)
    assert told.startswith("  estimated, litert, one thread: rpi4 ")
    assert told.strip() in page(report)


def test_operators_without_an_estimate_are_named(toys: Path) -> None:
    report = report_of(toys / "future.tflite")
    assert report.estimates is not None
    assert not report.estimates.boards
    told = [line for line in render(report).splitlines() if "no time estimated on" in line]
    assert len(told) == len(known_boards())
    assert report.estimates.unknown["rpi5"][0] in told[1]


def test_a_file_of_others_has_no_estimate(tree: Any, make_file: Any) -> None:
    assert report_of(make_file(tree)).estimates is None


def test_table_of_many_operators(compared: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfedge.show.text.MOST_ROWS", 3)
    operators = render(compared).split("By type")[0]
    assert "and 10 more, which --json and --html have" in operators
    assert "GATHER" in operators
    assert "FULLY_CONNECTED" not in operators


# --- verdict


def test_verdict_of_a_model_alone(compared: Report, toys: Path) -> None:
    found = compared.verdict
    assert found is not None
    figures = {figure.name: figure for figure in found.figures}
    sizes = [(toys / name).stat().st_size for name in ("int8_output.tflite", "classifier.tflite")]
    assert (figures["size"].value, figures["size"].float_) == tuple(sizes)
    last = [row.snr_db for row in compared.noise.layers if row.snr_db is not None][-1]
    assert figures["signal to noise"].value == last
    assert found.sentence.endswith("; not measured: accuracy, speed, peers")
    lines = render(compared).splitlines()
    assert lines[0] == found.sentence
    assert "accuracy" in lines[1] and "tfedge eval" in lines[1]


def test_verdict_with_what_converting_measured(toys: Path, tmp_path: Path) -> None:
    path = tmp_path / "X.tflite"
    path.write_bytes((toys / "int8.tflite").read_bytes())
    found = {"texts": 40, "accuracy": 0.9, "float_accuracy": 0.95, "disagreement": 0.1}
    stated = {
        "sha256": sha256(path),
        "task": "text-classification",
        "parameters": 1_000_000,
        "evaluation": {
            "source": "dev.tsv",
            "runtimes": {
                "tflite-runtime": {"passed": False, "error": "it crashed"},
                "litert": found,
            },
        },
    }
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps(stated), encoding="utf-8")
    told = report_of(path).verdict
    assert "5.0 points less accurate than float (90.0 % against 95.0 %)" in told.sentence
    assert told.figures[0].how == "40 texts of dev.tsv in litert, by tfedge convert"
    assert told.figures[1].float_ == 4_000_000
    # What tells of other bytes, or is no such report, tells nothing.
    for other in ({**stated, "sha256": "0"}, {**stated, "task": "none"}, [1], {"sha256": 3}):
        beside.write_text(json.dumps(other), encoding="utf-8")
        assert report_of(path).verdict.figures[0].value is None
    for value in (float("nan"), "1", True, -0.1, [HOSTILE]):
        odd = {"litert": {"accuracy": value, "disagreement": value}}
        stated["evaluation"]["runtimes"] = odd
        beside.write_text(json.dumps(stated), encoding="utf-8")
        assert report_of(path).verdict.figures[0].value is None


# --- page


class _Reader(HTMLParser):
    """Checks that every element is closed and collects names of elements and their text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(report: Report) -> _Reader:
    reader = _Reader()
    reader.feed(page(report))
    assert reader.open == []
    return reader


@needs_charts
def test_page_has_its_plots(compared: Report) -> None:
    html = page(compared)
    charts = figures(html)
    assert [figure.attrib["aria-label"].split()[0] for figure in charts] == [
        *("Signal-to-noise", "Signal-to-noise", "Cost", "Cost", "Ranges", "Ranges")
    ]
    noise = compared.noise
    measured = [row for row in noise.layers if row.snr_db is not None]
    for figure in charts[:2]:
        points = marks(figure, "points")
        assert len(points) == len(measured)
        worst = [point for point in points if point.attrib["fill"] == "var(--worst)"]
        assert len(worst) == len(marks(figure, "names")) == len(noise.worst)
        heights = [place(point)[1] for point in points]
        order = sorted(range(len(measured)), key=lambda index: measured[index].snr_db)
        assert [heights[index] for index in order] == sorted(heights, reverse=True)
    # A mouse learns which layer it is; on a phone a key says it.
    tips = [point.findtext("title") for point in marks(charts[0], "points")]
    assert tips == [f"{row.layer}: {row.snr_db:.1f} dB" for row in measured]
    assert len(marks(charts[1], "key")) == len(noise.worst)
    ranges = sum(row.range is not None for row in compared.operators)
    assert len(marks(charts[4], "ranges")) == len(marks(charts[5], "ranges")) == ranges


@needs_charts
def test_page_needs_nothing_else(compared: Report) -> None:
    html, reader = page(compared), read_page(compared)
    assert not reader.seen & {"script", "link", "img", "iframe", "object", "base"}
    assert not reader.attributes & {"src", "href", "onclick", "onload", "srcset"}
    assert not re.search(r"https?:|@import|url\(", html)
    assert "prefers-color-scheme:dark" in html
    assert "width=device-width" in html
    assert not re.search(r"[-\u2212]\d[\d.]* (?:ms|s|\u00b5s)\b", reader.text)


@needs_charts
def test_page_without_float(toys: Path) -> None:
    reader = read_page(report_of(toys / "int8.tflite"))
    assert "Not measured" in reader.text
    assert "--keep-reference" in reader.text


@needs_charts
def test_page_of_a_model_without_operators(tree: Any, make_file: Any) -> None:
    tree.subgraphs[0].operators = []
    reader = read_page(report_of(make_file(tree)))
    assert "No operator puts out a quantised tensor" in reader.text


@needs_charts
def test_names_of_the_file_stay_text(tree: Any, make_file: Any, tmp_path: Path) -> None:
    graph = tree.subgraphs[0]
    for item in graph.tensors:
        item.name = HOSTILE
    tree.signatureDefs[0].signatureKey = HOSTILE
    tree.signatureDefs[0].inputs[0].name = HOSTILE
    tree.operatorCodes[2].builtinCode = tree.operatorCodes[2].deprecatedBuiltinCode = 32  # CUSTOM
    tree.operatorCodes[2].customCode = HOSTILE
    path = tmp_path / f"{HOSTILE.replace('/', '|')}.tflite"
    path.write_bytes(packed(tree))
    report = report_of(path)
    layer = LayerNoise(HOSTILE, operator=2, snr_db=1.0, cosine=0.5, error=1.0, signal=1.0)
    noise = Noise(HOSTILE, HOSTILE, 1, "litert", None, [HOSTILE], [layer], [])
    report = dataclasses.replace(report, noise=noise)
    reader = read_page(report)
    assert "script" not in reader.seen
    assert "<script>alert(1)" in reader.text
    for text in (page(report), render(report)):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\\x1b[31m\\u202e" in text


# --- numbers


def test_numbers() -> None:
    assert [amount(n) for n in (0, 999, 1234, 1_234_567, 2 * 10**9, 10**16)] == [
        *("0", "999", "1.23 k", "1.23 M", "2 G", "1.00e+04 T")
    ]
    assert (size(12), size(15_600_000)) == ("12 B", "15.6 MB")
    assert (interval(None), interval([-1, 127 / 128])) == ("", "-1 .. 0.992")
    for snr_db, error, words in (
        (12.34, 1.0, "12.3"),
        (None, 0.0, "exact"),
        (None, 1.0, "no signal"),
    ):
        assert decibels(LayerNoise("x", 0, snr_db, None, error, 1.0)) == words
    assert visible("é\n\x7f\udce9") == "é\\n\\x7f\\udce9"
