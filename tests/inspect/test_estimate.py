"""Estimated times, by tables that a test invents and by those that ship."""

from __future__ import annotations

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from price_list import know_all

from tfedge.errors import InputError
from tfedge.inspect import estimate
from tfedge.inspect.estimate import (
    RUNTIME,
    Estimates,
    estimate_files,
    graph_time,
    known_boards,
    unknown_kinds,
)
from tfedge.inspect.estimate_table import lines, render, summary
from tfedge.inspect.graph import Operator, Subgraph, Tensor
from tfedge.runtime.bundle import read_bundle

GELU, RESHAPE = "GELU FLOAT32 > FLOAT32", "RESHAPE FLOAT32 > FLOAT32"
BOARD = {
    **{"ghz": 2.0, "error": 0.25, "litert_rows": 6},
    **{"instructions": 0.5, "mca": 1.0, "refill_cycles": 4.0, "dram_ns": 10.0},
}
TABLES: dict[str, Any] = {
    "boards.toml": {"rpi4": BOARD},
    "operators.toml": {
        RUNTIME: {
            "rpi4": {
                GELU: {
                    "most": 1000,
                    **{"instructions": {"out": 100.0}, "mca": {"call": 5000.0, "out": 50.0}},
                    **{"refills": {"in": 1.0}, "lines": {"rows": 100.0}},
                },
                RESHAPE: {
                    **{"most": 250, "instructions": {"call": 600.0}},
                    **{"mca": {}, "refills": {}, "lines": {}},
                },
            }
        }
    },
}


def graph(*names: str) -> Subgraph:
    """A chain of operators on [4, 250]."""
    tensors = [Tensor("", (4, 250), "FLOAT32", None, None, None) for _ in range(len(names) + 1)]
    operators = [Operator(name, 1, (place,), (place + 1,)) for place, name in enumerate(names)]
    return Subgraph(tensors, operators, (0,), (len(names),))


@pytest.fixture
def invented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_read", TABLES.__getitem__)


@pytest.mark.usefixtures("invented")
def test_a_sum_over_operators() -> None:
    """By hand: 0.05 M cycles of 100,000 instructions, 0.055 of llvm-mca's, 0.004 of 1,000 refills and
    4 us of 400 lines, at 2 GHz; the RESHAPE 300 cycles."""
    found = graph_time(graph("GELU", "RESHAPE"), "rpi4", "serve", 4)
    gelu, reshape = 0.109 / 2 + 0.004, 0.0003 / 2
    assert found.ms == pytest.approx(gelu + reshape)
    assert [(kind.kind, kind.count) for kind in found.kinds] == [(GELU, 1), (RESHAPE, 1)]
    assert found.kinds[0].ms == pytest.approx(gelu)
    assert sum(kind.share for kind in found.kinds) == pytest.approx(1)
    assert found.limit == "compute"
    assert found.limits["level 2"] == pytest.approx(0.002 / found.ms)
    assert found.limits["DRAM"] == pytest.approx(0.004 / found.ms)
    assert found.kinds[0].limits["DRAM"] == pytest.approx(0.004 / gelu)
    assert found.kinds[1].limits == {"compute": 1, "level 2": 0, "DRAM": 0}
    shown = "\n".join(lines(Estimates({"rpi4": found}, {})))
    assert re.search(rf"{re.escape(GELU)} +0\.06, compute 89\.7 %", shown)


@pytest.mark.usefixtures("invented")
def test_the_range_holds_what_may_be_missed_by_the_error() -> None:
    """A prediction that is a quarter too long or too short is of its ends."""
    found = graph_time(graph("GELU"), "rpi4", "serve", None)
    assert found.least_ms * 1.25 == pytest.approx(found.ms)
    assert found.most_ms * 0.75 == pytest.approx(found.ms)


@pytest.mark.usefixtures("invented")
def test_memory_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BOARD, "dram_ns", 1000.0)
    assert graph_time(graph("GELU"), "rpi4", "serve", None).limit == "DRAM"


@pytest.mark.usefixtures("invented")
def test_unknown_operators_are_named() -> None:
    strange = graph("GELU", *(f"CUSTOM:{letter}" for letter in "abcdef"), "CUSTOM:a")
    expected = [f"CUSTOM:{letter} FLOAT32 > FLOAT32" for letter in "abcdef"]
    assert unknown_kinds([strange], "rpi4") == expected
    with pytest.raises(InputError, match=r"CUSTOM:e FLOAT32 > FLOAT32 and 1 more; measure on a"):
        estimate.refuse_unknown([strange], "rpi4")
    with pytest.raises(InputError, match="no times of 'coral' can be estimated; give one of rpi4"):
        unknown_kinds([strange], "coral")


@pytest.mark.usefixtures("invented")
def test_what_a_graph_takes_longer_than_another() -> None:
    """By hand, as above: a GELU takes 0.0585 ms, a RESHAPE 0.00015."""
    before, after = graph("GELU", "RESHAPE"), graph("RESHAPE", "GELU", "GELU", "GELU")
    assert estimate.added_ms(before, after, "rpi4") == pytest.approx(2 * 0.0585)
    assert estimate.added_ms(after, before, "rpi4") == pytest.approx(-2 * 0.0585)
    assert estimate.added_ms(graph("GELU"), graph("RESHAPE"), "rpi4") == pytest.approx(-0.05835)


@pytest.mark.usefixtures("invented")
def test_of_two_graphs_only_what_differs_has_to_be_known() -> None:
    before, after = graph("CUSTOM:a"), graph("CUSTOM:a", "GELU")
    assert estimate.added_ms(before, after, "rpi4") == pytest.approx(0.0585)
    with pytest.raises(InputError, match=r"on rpi4 is not known: CUSTOM:b FLOAT32 > FLOAT32; mea"):
        estimate.added_ms(before, graph("CUSTOM:a", "CUSTOM:b"), "rpi4")


@pytest.mark.usefixtures("invented")
def test_operators_far_larger_than_those_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as large is not far."""
    assert unknown_kinds([graph("RESHAPE")], "rpi4") == []
    monkeypatch.setitem(TABLES["operators.toml"][RUNTIME]["rpi4"][RESHAPE], "most", 249)
    assert unknown_kinds([graph("RESHAPE")], "rpi4") == [f"{RESHAPE}, so large"]


@pytest.fixture
def model(toys: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Has graphs for 8 and 16 tokens."""
    path = toys / "buckets.tflite"
    know_all(monkeypatch, path)
    return str(path)


def test_files(model: str) -> None:
    found = estimate_files([model, f"{model}@16"], "rpi4", ())
    (short, long), (alone,) = (times.graphs for times in found.files)
    assert (short.tokens, long.tokens) == (8, 16)
    assert 0 < short.ms < long.ms
    assert alone == long
    said = render(found)
    assert said.startswith("estimated, not measured: rpi4 at 2 GHz, litert")
    assert said.endswith(found.basis)
    assert f" {long.ms:.2f} " in said
    other = estimate_files([model], "rpi5", ["litert"]).files[0].graphs[1]
    assert other.ms == pytest.approx(long.ms / 2, rel=0.01)


def test_times_of_a_file(model: str) -> None:
    bundle = read_bundle(model)
    first, second = estimate.times_of(Path(model), bundle)
    assert (first.board, second.board) == ("rpi4", "rpi5")
    graphs = estimate_files([model], "rpi4", ()).files[0].graphs
    assert first.ms == {str(graph.tokens): graph.ms for graph in graphs}
    assert summary([first], "tokens") == [
        f"estimated on rpi4, litert, one thread: {graphs[0].ms:.2f} ms for 8 tokens, "
        f"{graphs[1].ms:.2f} for 16 (up to 20.0 % off)"
    ]
    other = dataclasses.replace(bundle.manifest, runtimes=["tflite-runtime"])
    assert estimate.times_of(Path(model), dataclasses.replace(bundle, manifest=other)) == []


def test_times_of_one_graph() -> None:
    one = estimate.BoardTimes("rpi4", RUNTIME, {"197": 81.2}, 0.14, [], RUNTIME)
    assert summary([one], "tokens") == [
        "estimated on rpi4, litert, one thread: 81.2 ms for 197 tokens (up to 14.0 % off)"
    ]


@pytest.mark.usefixtures("invented")
def test_a_board_of_which_only_times_of_another_runtime_are_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "no time in litert" not in estimate.basis_of("rpi4")
    monkeypatch.setitem(BOARD, "litert_rows", 0)
    assert "of this board no time in litert is published" in estimate.basis_of("rpi4")
    times = estimate._board_times("rpi4", {4: graph("GELU")})
    assert summary([times], "tokens") == [
        "estimated on rpi4, litert, one thread: 0.06 ms for 4 tokens (up to 25.0 % off, by times of "
        "ncnn)"
    ]


def test_operators_of_a_file_that_are_unknown(toys: Path) -> None:
    path = toys / "future.tflite"
    with pytest.raises(InputError, match=r"future\.tflite: no time can be estimated: what these"):
        estimate_files([str(path)], "rpi4", ())


@pytest.mark.parametrize("board", known_boards())
def test_what_ships_is_whole(board: str) -> None:
    table = copy.deepcopy(estimate._read("operators.toml")[RUNTIME][board])
    for kind, measures in table.items():
        assert measures.pop("most") > 0, kind
        assert set(measures) == {"instructions", "mca", "refills", "lines"}, kind
        assert measures["instructions"], kind
        assert all(weight > 0 for weights in measures.values() for weight in weights.values()), kind


def test_another_runtime(model: str) -> None:
    with pytest.raises(InputError, match="no times in tflite-runtime can be estimated"):
        estimate_files([model], "rpi5", ["litert", "tflite-runtime"])


def test_a_length_that_is_not_there(model: str) -> None:
    with pytest.raises(InputError, match="has no graph for 12 tokens; it has 8, 16"):
        estimate_files([f"{model}@12"], "rpi5", ())


@pytest.mark.usefixtures("invented")
def test_lines() -> None:
    times = {"rpi4": graph_time(graph("GELU"), "rpi4", "serve", 4)}
    assert lines(estimate.Estimates(times, {"rpi5": ["CUSTOM:x INT8 > INT8"]})) == [
        "estimated, litert, one thread: rpi4 0.06 ms (0.05-0.08, limit compute)",
        "                       rpi4, ms, limit",
        "GELU FLOAT32 > FLOAT32 0.06, compute 89.7 %",
        "no time estimated on rpi5: what it costs there is not known of CUSTOM:x INT8 > INT8",
    ]
