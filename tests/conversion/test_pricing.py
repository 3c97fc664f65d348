"""By what `auto` chooses: estimated time where it can be told, else counted instructions, aloud."""

from __future__ import annotations

from typing import Any

import pytest
import toy_folders
from bars import Bars
from program import needs_both

from tfedge.conversion.convert import ConvertOptions
from tfedge.conversion.job import Job
from tfedge.conversion.mixture import converted
from tfedge.conversion.pricing import priced
from tfedge.inspect import estimate
from tfedge.inspect.graph import read_content
from tfedge.notes import note
from tfedge.quantize.costs import Costs, read_costs, units_of
from tfedge.quantize.mixed import Precision, match_sites
from tfedge.quantize.prepare import Prepared, prepare
from tfedge.quantize.search import order_moves
from tfedge.targets import load_target

_BOARD = {
    "ghz": 1.0,
    "error": 0.2,
    "litert_rows": 1,
    "instructions": 0.0,
    "mca": 1.0,
    "refill_cycles": 0,
    "dram_ns": 0,
}


class Kinds(dict[str, Any]):
    """Knows every kind but the `unknown`: an element takes 100 cycles in float, 1 in integers or where
    it goes from one to the other."""

    unknown = "nothing"

    def __contains__(self, kind: object) -> bool:
        return self.unknown not in str(kind)

    def __missing__(self, kind: str) -> dict[str, Any]:
        in_float = "FLOAT32" in kind and "QUANTIZE" not in kind
        free: dict[str, float] = {}
        costs = {"instructions": free, "refills": free, "lines": free}
        return {"most": 1 << 62, **costs, "mca": {"out": 100.0 if in_float else 1.0}}


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> Kinds:
    found = Kinds()
    monkeypatch.setattr(estimate, "_board", lambda board: _BOARD)
    monkeypatch.setattr(estimate, "_table", lambda board: found)
    note.cache_clear()  # which a test before may have had
    return found


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    own = tmp_path_factory.mktemp("pricing")
    folder = toy_folders.write_folder(own / "toy", "bert", "text-classification", small=True)
    data = toy_folders.write_sentences(own / "toy.tsv", 12)
    given: dict[str, Any] = {"sequence_length": 16, "buckets": (), "runtime": "litert"}
    given |= {"calibration": str(data), "quantization": "auto", "target": "rpi4"}
    return Job(str(folder), ConvertOptions(output=own / "out", **given), Bars())


@pytest.fixture(scope="module")
def prepared(job: Job) -> Prepared:
    samples = job.reader.samples(job.calibration, job.shape.sequence_length)
    return prepare(job.checkpoint, job.shape, samples)


def _free(costs: Costs, prepared: Prepared) -> set[str]:
    """The kinds of sites that are taken out of the integers whatever may be lost."""
    encoder = prepared.encoder()
    harms = dict.fromkeys(encoder.sites, 1.0)
    moves = order_moves(encoder.sites, units_of(encoder), harms, costs)
    return {encoder.sites[move.group] for move in moves if move.cost <= 0}


@pytest.mark.usefixtures("kinds")
def test_time_decides_where_counts_say_otherwise(job: Job, prepared: Prepared) -> None:
    """By instructions float norms and attentions gain on a Cortex-A72; by these times they lose."""
    assert job.costs is not None
    assert _free(job.costs, prepared) == {"norm", "attention"}
    costs = priced(job, prepared, job.costs)
    assert (costs.board, costs.unit) == ("rpi4", "ms")
    assert _free(costs, prepared) == set()
    assert set(costs.table) == {"dense", "attention", "norm"}
    for kind, added in costs.table.items():
        assert set(added) == ({"dynamic", "float"} if kind == "dense" else {"float"})
        assert all(value > 0 for value in added.values())
    # 99 cycles, at 1 GHz nanoseconds, for each probability alone.
    assert costs.table["attention"]["float"] > 99


@pytest.mark.usefixtures("kinds")
def test_time_is_that_of_the_target_where_counts_are_of_its_like(
    job: Job, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert job.costs is not None
    monkeypatch.setattr(job, "timed", load_target("jetson-nano").times)
    assert priced(job, prepared, job.costs).board == "jetson-nano"


def test_an_unknown_operator_is_named_and_counts_decide(
    job: Job, prepared: Prepared, kinds: Kinds, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job.costs is not None
    kinds.unknown = "RSQRT FLOAT32"
    assert priced(job, prepared, job.costs) is job.costs
    said = capsys.readouterr().err
    assert "auto chooses by instructions counted on rpi4, not by estimated milliseconds" in said
    assert "RSQRT FLOAT32 > FLOAT32" in said


@pytest.mark.parametrize("rules", [{"dense": "dynamic"}, {"dense": "dynamic", "norm": "float"}])
def test_dense_layers_that_stay_integers_are_told(
    job: Job, prepared: Prepared, rules: dict[str, Precision], capsys: pytest.CaptureFixture[str]
) -> None:
    """The converter makes integers of what lies between integers."""
    note.cache_clear()
    precisions = match_sites(rules, prepared.encoder().sites)
    content = converted(job, prepared.graphs(precisions), precisions)
    graph = read_content("toy", content).subgraphs[0]
    dense = [item for item in graph.operators if item.name == "FULLY_CONNECTED"]
    integers = [item for item in dense if graph.result(item).dtype == "INT8"]
    assert len(integers) == (0 if "norm" in rules else 4)
    told = "4 dense layers that were to be dynamic, as " in capsys.readouterr().err
    assert told == ("norm" not in rules)


@needs_both
def test_of_another_runtime_counts_decide(
    job: Job,
    prepared: Prepared,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    note.cache_clear()
    counted = read_costs("tflite-runtime", "rpi4")
    monkeypatch.setattr(job, "runtime", "tflite-runtime")
    assert priced(job, prepared, counted) is counted
    assert "times are known for litert alone, not for tflite-runtime" in capsys.readouterr().err
