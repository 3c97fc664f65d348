"""Operators that are taken out of a toy and run one by one, here instead of on a board."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from operators import Widths, take_apart

from tfedge.inspect.graph import read_model
from tfedge.inspect.work import kind_of, runs_each_time

PROGRAM = Path(__file__).with_name("invoke_operators.py")


@pytest.fixture(params=["classifier", "int8_output"])
def model(toys: Path, request: pytest.FixtureRequest) -> Path:
    return toys / f"{request.param}.tflite"


def kinds_of(model: Path) -> set[str]:
    graph = read_model(model).subgraphs[0]
    return {kind_of(item, graph) for item in graph.operators if runs_each_time(item, graph)}


def length_of(model: Path) -> int:
    graph = read_model(model).subgraphs[0]
    return graph.tensors[graph.inputs[0]].shape[1]


def test_every_kind_runs_alone(model: Path, tmp_path: Path) -> None:
    found = list(take_apart(model, [length_of(model)], {}, tmp_path))
    assert {each.kind for each in found} == kinds_of(model)
    (tmp_path / "list").write_text("\n".join(str(each.path) for each in found))
    command = [sys.executable, str(PROGRAM), str(tmp_path / "list")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [f"RAN {each.path}" for each in found]


def test_copies_share_nothing(model: Path, tmp_path: Path) -> None:
    """A cache would have the weights of the second copy."""
    for each in take_apart(model, [length_of(model)], {}, tmp_path):
        graph = read_model(each.path).subgraphs[0]
        used = [index for item in graph.operators for index in item.inputs if index >= 0]
        assert len(graph.operators) == each.copies
        assert len(set(used)) == len(used)


def test_other_lengths_are_left_out(model: Path, tmp_path: Path) -> None:
    assert not list(take_apart(model, [length_of(model) + 1], {}, tmp_path))


def test_other_widths(model: Path, tmp_path: Path) -> None:
    """Dense layers of a toy become wider, and run."""
    graph = read_model(model).subgraphs[0]
    looked_up = [graph.result(item).shape for item in graph.operators if item.name == "GATHER"]
    width = next(shape[-1] for shape in looked_up if len(shape) == 3)  # of a token's embedding
    found = take_apart(model, [length_of(model)], {width: 3 * width}, tmp_path)
    dense = [each for each in found if each.kind.startswith("FULLY_CONNECTED")]
    graphs = [read_model(each.path).subgraphs[0] for each in dense]
    assert any(3 * width in graph.operands(graph.operators[0])[1].shape for graph in graphs)
    (tmp_path / "list").write_text("\n".join(str(each.path) for each in dense))
    command = [sys.executable, str(PROGRAM), str(tmp_path / "list")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.count("RAN ") == len(dense)


def test_widths() -> None:
    sizes = Widths(312, 1200, 12, 26).to(Widths(384, 1536, 12, 32))
    assert sizes == {312: 384, 1200: 1536, 12: 12, 26: 32}
