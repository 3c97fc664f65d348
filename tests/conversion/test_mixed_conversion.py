"""Conversions whose operations have several precisions, from a checkpoint to what a runtime says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toy_folders
from bars import Bars
from program import needs_both

from tfedge import tasks
from tfedge.conversion import candidates
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.conversion.judge import Judge
from tfedge.errors import InputError
from tfedge.inspect.contents import contents
from tfedge.inspect.graph import read_model
from tfedge.records import as_json

LENGTH = 16
CLASSIFICATION = "text-classification"


def options(tmp_path: Path, **changes: Any) -> ConvertOptions:
    data = toy_folders.write_sentences(tmp_path / "toy.tsv", 12)
    given = {"calibration": str(data), "output": tmp_path / "out", "max_drop": 100.0}
    given |= {"sequence_length": LENGTH, "buckets": (8,), "runtime": "litert"}
    return ConvertOptions(**{**given, **changes})


@pytest.fixture
def toy(tmp_path: Path) -> str:
    return str(toy_folders.write_folder(tmp_path / "toy", "bert", CLASSIFICATION, small=True))


@pytest.mark.parametrize(
    "runtime", ["litert", pytest.param("tflite-runtime", marks=[pytest.mark.slow, needs_both])]
)
def test_mixed_puts_float_where_a_rule_says(toy: str, tmp_path: Path, runtime: str) -> None:
    rules = {"norm": "float", "*.output.dense": "dynamic"}
    changes = {"quantization": "mixed", "precisions": rules, "runtime": runtime}
    report = as_json(convert(toy, options(tmp_path, **changes), Bars()))
    found = report["quantization"]
    chosen = Counter(found["precisions"].values())
    # attention.output.dense and output.dense, their norms and the embeddings'.
    assert chosen == {"float": 3, "dynamic": 2}
    per_graph = {name: count / 2 for name, count in found["operators"].items()}
    assert per_graph["RSQRT FLOAT32"] == 3
    assert "RSQRT INT8" not in per_graph
    assert per_graph["CONV_2D FLOAT32"] == 2
    assert per_graph["SOFTMAX INT8"] == 1
    path = tmp_path / "out" / "toy" / "toy_mixed.tflite"
    subgraphs = read_model(path).subgraphs
    assert len(subgraphs) == 2
    for graph in subgraphs:
        assert not [item for item in graph.operators if item.name == "FULLY_CONNECTED"]
        dense = [item for item in graph.operators if item.name == "CONV_2D"]
        weights = [graph.tensors[item.inputs[1]] for item in dense]
        assert {tensor.dtype for tensor in weights} == {"INT8"}
        assert {tensor.scale for tensor in weights} == {None}  # one a row
    figures = report["evaluation"]["runtimes"][runtime]
    assert figures["passed"] and figures["disagreement"] < 0.5


@pytest.mark.slow
def test_auto_says_what_it_chose_and_keeps_what_it_measured(toy: str, tmp_path: Path) -> None:
    bars = Bars()
    report = as_json(convert(toy, options(tmp_path, quantization="auto", target="rpi5"), bars))
    search = report["quantization"]["search"]
    assert (search["board"], search["unit"]) == ("rpi5", "ms")
    # At any drop allowed, what is faster in float is taken and nothing else: there, the norms.
    taken = {group["group"] for group in search["groups"] if group["precision"] != "int8"}
    assert taken == {group["group"] for group in search["groups"] if "Norm" in group["group"]}
    measured = tmp_path / "out" / "toy" / "toy_auto_measured.json"
    before = json.loads(measured.read_text())
    assert len(before["values"]) == len(search["groups"]) + 1
    again = as_json(convert(toy, options(tmp_path, quantization="auto", target="rpi5"), Bars()))
    assert json.loads(measured.read_text()) == before
    assert again["sha256"] == report["sha256"]


@pytest.mark.slow
def test_auto_goes_on_until_embeddings_keep_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean is allowed from the start, the rest with the second file."""
    toy = toy_folders.write_folder(tmp_path / "toy", "bert", "sentence-embedding", small=True)
    judged: list[dict[str, Any]] = []

    def shortfalls(task: Any, figures: dict[str, Any], max_drop: float) -> list[str]:
        judged.append(figures)
        return ["least cosine too small"] if len(judged) == 1 else []

    monkeypatch.setattr(type(tasks.find("sentence-embedding")), "shortfalls", shortfalls)
    changes = {"quantization": "auto", "target": "rpi5"}
    report = as_json(convert(str(toy), options(tmp_path, **changes), Bars()))
    assert len(judged) == 2
    assert report["evaluation"]["runtimes"]["litert"]["comparison"] == judged[1]
    groups = report["quantization"]["search"]["groups"]
    taken = {group["group"] for group in groups if group["precision"] != "int8"}
    assert taken > {group["group"] for group in groups if "Norm" in group["group"]}


@pytest.mark.slow
def test_auto_takes_all_out_of_the_integers_and_then_float16(
    toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No drop at all is allowed, so that the most exact mixture is the only one to try."""
    measure, assign = Judge.measure, candidates.assignments
    reports: list[Any] = []

    def only_float16(judge: Judge, path: Path) -> Any:
        exact = "FLOAT16" in contents(path.read_bytes()).constants
        return measure(judge, path)[0], None if exact else "not exact enough"

    def noted(*given: Any) -> Iterator[Any]:
        for precisions, report in assign(*given):
            reports.append(report)
            yield precisions, report

    monkeypatch.setattr(Judge, "measure", only_float16)
    monkeypatch.setattr(candidates, "assignments", noted)
    changes = {"quantization": "auto", "max_drop": -1.0, "keep_reference": True}
    found = as_json(convert(toy, options(tmp_path, **changes), Bars()))["quantization"]
    (tried,) = reports
    assert "int8" not in {group.precision for group in tried.groups}
    assert (found["mode"], found["ranges"]) == ("auto", None)
    assert "search" not in found
    assert found["float_operators"] == sum(found["operators"].values())
    assert "FLOAT16" in found["constant_bytes_by_dtype"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantization": "int8", "precisions": {"norm": "float"}}, "mixed"),
        ({"quantization": "mixed", "precisions": {"nrom": "float"}}, "names no operation"),
        (
            {"quantization": "mixed", "precisions": {"pooling": "float"}},
            "give one of attention, dense",
        ),
        ({"quantization": "mixed", "precisions": {"norm": "dynamic"}}, "only dense layers can"),
        ({"target": "rpi9"}, "unknown target"),
    ],
)
def test_what_cannot_be(toy: str, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """It is said before anything is built or calibrated."""
    bars = Bars()
    with pytest.raises(InputError, match=message):
        convert(toy, options(tmp_path, **changes), bars)
    assert not bars
