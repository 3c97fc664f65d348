"""Times of the parts of a model: which parts, cut off where, measured in the runtime."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bars
import numpy as np
import pytest
from charts import needs_charts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program import INSTALLED, each_runtime

from tfedge.errors import InputError
from tfedge.inspect.copies import write_prefixes
from tfedge.inspect.graph import Operator as GraphOperator
from tfedge.inspect.graph import Signature, Subgraph, Tensor, read_model
from tfedge.inspect.inputs import model_inputs
from tfedge.inspect.layers import Part, parts
from tfedge.inspect.report import InspectOptions, inspect
from tfedge.inspect.table import page, render
from tfedge.inspect.timing import PartTime, time_parts
from tfedge.measure.board import Board
from tfedge.progress import unheard
from tfedge.records import as_json, read_record
from tfedge.runtime.bundle import read_bundle

NAMES = {
    "bert/embeddings.LayerNorm.1.step/x": "embeddings",
    "bert/encoder.layer.3.attention.self.query/BiasAdd;z": "encoder.layer.3.attention",
    "bert/encoder.layer.3.output.dense/BiasAdd": "encoder.layer.3",
    "net/block_2/mlp/MatMul": "block_2",
    "plain": "plain",
}


def chain(names: list[str], outputs: dict[str, int]) -> tuple[Subgraph, Signature]:
    """A graph of operators in a row, each with one result of that name."""
    tensors = [Tensor(name, (1,), "INT8", None, None, None) for name in ("in", *names)]
    operators = [GraphOperator("ADD", 1, (index,), (index + 1,)) for index in range(len(names))]
    return Subgraph(tensors, operators, (0,), (len(names),)), Signature("s", 0, {"in": 0}, outputs)


@pytest.mark.parametrize("tensor", NAMES)
def test_part_of_a_tensor(tensor: str) -> None:
    assert parts(*chain([tensor], {})) == [Part(NAMES[tensor], 0, 1)]


def test_parts_in_order() -> None:
    names = ["m/emb/a", "m/layer.0.attention/a", "m/layer.0.ffn/a", "m/emb/late", "m/layer.1.ffn/a"]
    assert parts(*chain([*names, "Call:0"], {"logits": 6})) == [
        Part("emb", 0, 1),
        Part("layer.0.attention", 1, 2),
        Part("layer.0", 2, 4),  # with what runs late, whatever it is of
        Part("layer.1", 4, 5),
        Part("logits", 5, 6),
    ]


@each_runtime
def test_beginnings_compute_what_the_whole_does(toys: Path, tmp_path: Path, runtime: str) -> None:
    """Cut where a layer ends, the graph puts out what that layer has in the whole."""
    model = read_model(toys / "int8.tflite")
    signature = model.signature(None)
    assert signature is not None
    subgraph = model.subgraphs[signature.subgraph]
    found = parts(subgraph, signature)
    assert sum(part.end - part.begin for part in found) == len(subgraph.operators)
    path = tmp_path / "parts.tflite"
    keys = write_prefixes(model, signature, [part.end for part in found], path)
    cut = read_model(path)
    assert [item.key for item in cut.signatures] == keys
    assert [len(graph.operators) for graph in cut.subgraphs] == [part.end for part in found]
    assert cut.subgraphs[-1].outputs == subgraph.outputs
    for graph in cut.subgraphs[:-1]:
        rest = subgraph.operators[len(graph.operators) :]
        read = {index for operator in rest for index in operator.inputs}
        assert set(graph.outputs) <= read | set(subgraph.outputs)
    inputs, _ = model_inputs(model, signature, read_bundle(toys / "int8.tflite"), None, 2)
    board, whole = Board(runtime=runtime), signature.outputs["logits"]
    entry = (keys[-1], len(found) - 1)
    ours = board.tensors(path, entry, inputs, [whole], unheard)[0]
    original = (signature.key, signature.subgraph)
    np.testing.assert_array_equal(
        ours, board.tensors(toys / "int8.tflite", original, inputs, [whole], unheard)[0]
    )


@each_runtime
def test_times(toys: Path, runtime: str) -> None:
    model = read_model(toys / "int8.tflite")
    signature = model.signature(None)
    assert signature is not None
    inputs, _ = model_inputs(model, signature, read_bundle(toys / "int8.tflite"), None, 2)
    done: list[int] = []
    times, total = time_parts(model, signature, inputs, Board(runtime=runtime), 3, done.append)
    subgraph = model.subgraphs[signature.subgraph]
    assert sum(part.operators for part in times) == len(subgraph.operators)
    assert total > 0
    assert sum(part.median_s for part in times) == pytest.approx(total, rel=1)
    assert sum(done) == 3 + 3
    table = max(tensor.constant_bytes or 0 for tensor in subgraph.tensors)
    assert max(part.weight_bytes for part in times) >= table


class _Clock:
    """A board on which the graphs up to each part take what is told, each round the same."""

    def __init__(self, seconds: list[float]) -> None:
        self.told = np.array([seconds, seconds])

    def seconds(self, *_: Any) -> np.ndarray:
        return self.told


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=9))
def test_no_part_takes_less_than_nothing(toys: Path, seconds: list[float]) -> None:
    """Whatever noise makes of the graphs' times, which never fall but by noise."""
    model = read_model(toys / "int8.tflite")
    signature = model.signature(None)
    assert signature is not None
    count = len(parts(model.subgraphs[signature.subgraph], signature))
    told = (seconds * count)[:count]
    times, total = time_parts(model, signature, {}, _Clock(told), 2, unheard)  # type: ignore[arg-type]
    found = [part.median_s for part in times]
    assert min(found) >= 0
    assert total == told[-1]
    assert sum(found) <= max(told) + 1e-9
    if told == sorted(told):
        assert found == pytest.approx(np.diff(told, prepend=0), abs=1e-9)


def test_times_below_0_are_no_times() -> None:
    content = {"name": "head", "operators": 1, "weight_bytes": 0, "median_s": -1e-6}
    with pytest.raises(InputError, match=r"median_s: Input should be greater than or equal to 0"):
        read_record(content, PartTime, "x.json", "tfedge inspect --json")


@needs_charts
def test_report_shows_times(toys: Path) -> None:
    made = bars.Bars()
    options = InspectOptions(rows=2, time_rounds=2)
    report = inspect(toys / "int8.tflite", options, made)
    content = as_json(report)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert [(bar.done, bar.total) for bar in made] == [(5, 5)]
    timing = report.timing
    assert (timing.rounds, timing.threads, timing.runtime) == (2, 1, INSTALLED[0])
    for text in (render(report), page(report)):
        assert "Time by part" in text
        assert all(part.name in text for part in timing.parts)
        assert not re.search(r"[-\u2212]\d[\d.]* ms", text)


def test_a_graph_that_calls_others_cannot_be_cut(
    tree: Any, make_file: Callable[[Any], Path], tmp_path: Path
) -> None:
    from ai_edge_litert import schema_py_generated as schema

    tree.operatorCodes[2].builtinCode = tree.operatorCodes[2].deprecatedBuiltinCode = (
        schema.BuiltinOperator.WHILE
    )
    model = read_model(make_file(tree))
    signature = model.signature(None)
    assert signature is not None
    with pytest.raises(InputError, match="WHILE is one operator of many"):
        write_prefixes(model, signature, [1], tmp_path / "x.tflite")


def test_times_need_a_signature(tree: Any, make_file: Callable[[Any], Path]) -> None:
    tree.signatureDefs = None
    with pytest.raises(InputError, match="by which --time runs it"):
        inspect(make_file(tree), InspectOptions(time_rounds=1), bars.Bars())
