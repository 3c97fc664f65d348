"""Sites with a precision of their own: rules, costs, search, and the graph that comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cases
import lowered
import numpy as np
import pytest
import tensorflow as tf
import toy_folders

from tfedge import tasks
from tfedge.errors import InputError
from tfedge.inspect.estimate import known_boards
from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.costs import Costs, read_costs, units_of
from tfedge.quantize.fake_quant import FakeQuant
from tfedge.quantize.mixed import match_sites
from tfedge.quantize.prepare import Prepared, Shape, prepare
from tfedge.quantize.search import (
    Move,
    Simulation,
    count_moves,
    groups_of,
    measure_harms,
    order_moves,
    precisions_after,
)
from tfedge.runtime.runtimes import RUNTIMES
from tfedge.targets import load_target, target_names

TASK = "text-classification"
SITES = {"a.dense": "dense", "b.dense": "dense", "a": "attention", "a.LayerNorm": "norm"}
Outputs = dict[str, tf.Tensor]
Make = Callable[..., Checkpoint]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, sequences: list[np.ndarray]) -> Prepared:
    folder = toy_folders.write_folder(tmp_path_factory.mktemp("mixed") / "toy", "bert", TASK)
    return prepare(Checkpoint(folder), Shape(TASK, 2, 16), sequences)


def test_rules_name_kinds_and_patterns_and_the_last_one_counts() -> None:
    found = match_sites({"dense": "dynamic", "norm": "float", "b.*": "int8"}, SITES)
    assert found == {"a.dense": "dynamic", "b.dense": "int8", "a.LayerNorm": "float"}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"c.*": "float"}, "names no operation"),
        ({"norm": "dynamic"}, "only dense layers can"),
        ({"*": "dynamic"}, "only dense layers can"),
    ],
)
def test_rules_that_cannot_be(rules: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        match_sites(rules, SITES)


def test_sites_are_known_before_calibration(prepared: Prepared) -> None:
    shape = prepared.shape
    assert shape.sites(prepared.lowering.config) == prepared.encoder().sites


def test_every_target_has_costs() -> None:
    for name in target_names():
        target = load_target(name)
        for runtime in [target.runtime] if target.runtime else RUNTIMES:
            assert read_costs(runtime, target.costs).board == target.costs
        assert {target.times or target.costs} <= set(known_boards())
    with pytest.raises(InputError, match="jetson-nano, mediapipe, rpi4"):
        load_target("rpi9")
    with pytest.raises(InputError, match="known are"):
        read_costs("litert", "rpi9")


def test_units_are_what_a_site_computes(prepared: Prepared) -> None:
    units = units_of(prepared.encoder())
    config = prepared.lowering.config
    hidden, inner = config.hidden_size, config.intermediate_size
    first = "encoder.layer.0"
    assert units[f"{first}.intermediate.dense"] == 16 * hidden * inner
    assert units[f"{first}.attention.self"] == config.num_attention_heads * 16 * 16
    assert units[f"{first}.output.LayerNorm"] == 16 * hidden
    last = f"encoder.layer.{config.num_hidden_layers - 1}"
    assert units[f"{last}.intermediate.dense"] == hidden * inner  # [CLS] only


def test_a_graph_all_in_float_is_the_plain_one(prepared: Prepared) -> None:
    """Rounded are only the tables and what belongs to no site."""
    sites = prepared.encoder().sites
    graph = prepared.graphs(dict.fromkeys(sites, "float"))[16]
    rounded = {layer.name for layer in graph.layers if isinstance(layer, FakeQuant)}
    assert rounded
    assert all(name.startswith(("embeddings.", "attention_bias", "pooler.act")) for name in rounded)
    inputs = {name: value[:1] for name, value in cases.batch(graph_source(prepared)).items()}
    length = inputs["input_ids"].shape[1]
    inputs = {name: np.pad(value, ((0, 0), (0, 16 - length))) for name, value in inputs.items()}
    expected = prepared.lowering.weights(inputs)["logits"]
    np.testing.assert_allclose(graph(inputs)["logits"], expected, atol=0.05)


def graph_source(prepared: Prepared) -> dict[str, object]:
    return dict(prepared.lowering.config.source)


def test_a_float_site_is_not_rounded_and_its_integer_readers_round_it(prepared: Prepared) -> None:
    norm = "encoder.layer.0.output.LayerNorm"
    graph = prepared.graphs({norm: "float"})[16]
    names = {layer.name for layer in graph.layers}
    assert f"{norm}.0.variance" not in names  # one float layer, no chain
    assert f"{norm}.quant" in names  # for the dense layers that read it
    assert "encoder.layer.0.output.sum.quant" not in names
    assert "encoder.layer.1.output.sum.quant" in names


@pytest.mark.parametrize(
    "architecture",
    [
        "bert",
        pytest.param("distilbert", marks=pytest.mark.slow),
        pytest.param("mobilebert", marks=pytest.mark.slow),
    ],
)
def test_without_rounding_the_simulation_is_exact(
    architecture: str, outlier_checkpoint: Make, sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint(architecture, small=architecture == "bert")
    simulation = Simulation(lowered.prepared(checkpoint, Shape(TASK, 2, 16), sequences))
    for gate in simulation._gates.values():
        gate.assign(False)
    errors = simulation.distances(sequences, _error)
    # Means of norms that answers hardly feel are left in, see `tfedge.quantize.felt`.
    assert errors.max() < 1e-2


def _error(output: Outputs, target: Outputs, mask: object) -> tf.Tensor:
    del mask
    return tf.reduce_max(tf.abs(output["logits"] - target["logits"]))


def test_harms_are_kept_and_taken_up_again(
    prepared: Prepared, sequences: list[np.ndarray], tmp_path: Path
) -> None:
    simulation = Simulation(prepared)
    cache = tmp_path / "measured.json"

    def distance(output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tasks.find(TASK).output_losses(output, target, mask, 1.0))

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_harms(simulation, sequences, distance, cache, {"of": 1}, interrupt)
    assert list(json.loads(cache.read_text())["values"]) == [""]
    harms = measure_harms(simulation, sequences, distance, cache, {"of": 1})
    assert harms.keys() == groups_of(simulation.sites).keys()
    assert max(harms.values()) > 0
    # Nothing is measured again: a simulation that fails is not asked.
    again = measure_harms(simulation, [], distance, cache, {"of": 1})
    assert again == harms
    changed = json.loads(cache.read_text())
    changed["key"] = {"of": 2}
    cache.write_text(json.dumps(changed))
    assert measure_harms(simulation, sequences[:2], distance, cache, {"of": 1}) != harms


def test_a_large_model_is_measured_by_kind_and_layer() -> None:
    sites = {f"encoder.layer.{n}.{part}.dense": "dense" for n in range(24) for part in "abcdef"}
    sites["embeddings.LayerNorm"] = "norm"
    groups = groups_of(sites)
    assert len(groups) == 25
    assert groups["encoder.layer.3:dense"] == [f"encoder.layer.3.{part}.dense" for part in "abcdef"]
    assert sorted(site for members in groups.values() for site in members) == sorted(sites)


def test_what_costs_nothing_comes_first_then_most_harm_for_the_cost() -> None:
    table = {
        "dense": {"dynamic": 1.0, "float": 2.0},
        "attention": {"float": 4.0},
        "norm": {"float": -1.0},
    }
    units = {"a.dense": 1_000_000, "b.dense": 2_000_000, "a": 1_000_000, "a.LayerNorm": 1_000_000}
    harms = {"a.dense": 1.0, "b.dense": 3.0, "a": 8.0, "a.LayerNorm": 0.0}
    moves = order_moves(SITES, units, harms, Costs("toy", "ms", table))
    assert [move.group for move in moves] == ["a.LayerNorm", "a", "b.dense", "a.dense"]
    assert moves[0].cost == -1
    assert precisions_after(moves[:3]) == {
        "a.LayerNorm": "float",
        "a": "float",
        "b.dense": "dynamic",
    }


@pytest.mark.parametrize(("bar", "expected"), [(10, 1), (5, 5), (4.5, 6), (0, 10), (-1, 10)])
def test_the_least_number_of_moves_that_keeps_the_bar(bar: float, expected: int) -> None:
    moves = [Move(str(index), {}, 0.0, 1.0) for index in range(10)]
    count, loss = count_moves(moves, 1, lambda made: float(10 - len(made)), bar)
    assert count == expected
    assert loss == 10 - expected
