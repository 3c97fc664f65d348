"""Which layers are pruned and when: choices, schedules that fire, and those that would not."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf
import tf_keras as keras
import toy_folders
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tfedge.errors import InputError
from tfedge.models.build import build
from tfedge.models.config import parse_config
from tfedge.train.sparsity import (
    LayerPruning,
    PruningOptions,
    Timing,
    _schedule,
    choose_layers,
    parse_pattern,
    timing,
)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    config = parse_config(toy_folders.config(small=True))
    return build(config, "text-classification").model


@pytest.mark.parametrize(
    ("pattern", "parsed"),
    [
        ("none", (None, (1, 1))),
        ("2:4", ((2, 4), (1, 1))),
        ("1:2", ((1, 2), (1, 1))),
        ("4x1", (None, (4, 1))),
        ("16x2", (None, (16, 2))),
    ],
)
def test_patterns(pattern: str, parsed: Any) -> None:
    assert parse_pattern(pattern) == parsed


@pytest.mark.parametrize("pattern", ["", "4:2", "4:4", "0:4", "2:4 ", "0x1", "4x", "4x1x1", "٢:٤"])
def test_unknown_patterns(pattern: str) -> None:
    with pytest.raises(InputError, match=r"unknown pattern .* give none, M:N"):
        PruningOptions(pattern=pattern)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sparsity": 1.0}, "sparsity is 1.0; it is a share of the weights, 0 to below 1"),
        ({"sparsity": -0.1}, "sparsity is -0.1"),
        ({"sparsity": float("nan")}, "sparsity is nan"),
        ({"initial_sparsity": 2.0}, "initial_sparsity is 2.0"),
        ({"initial_sparsity": 0.2, "schedule": "constant"}, "belongs to the polynomial"),
        ({"schedule": "linear"}, "unknown schedule 'linear'; known are polynomial, constant"),
        ({"pattern": "2:4", "sparsity": 0.6}, r"makes 0\.5 of every layer zero"),
        ({"pattern": "2:4", "layers": ("encoder.*=0.5",)}, "no layer a sparsity"),
        ({"pattern": "2:4", "layers": ("encoder.*/4x1",)}, "or pattern of its own"),
        ({"pattern": "2:4", "frequency": 5}, "chosen once, at the first step"),
    ],
)
def test_options_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PruningOptions(**changes)


def test_dense_layers_but_the_last_are_pruned_by_default(model: keras.Model) -> None:
    chosen = choose_layers(model, PruningOptions(0.3))
    layer = "encoder.layer.0"
    attention = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
    assert sorted(chosen) == sorted(
        [
            *attention,
            f"{layer}.attention.output.dense",
            f"{layer}.intermediate.dense",
            f"{layer}.output.dense",
            "pooler.dense",
        ]
    )
    assert set(chosen.values()) == {LayerPruning(0.3, "none")}


def test_layers_are_chosen_one_by_one(model: keras.Model) -> None:
    layers = ("encoder.*", "*.intermediate.dense=0.8", "embeddings.word_*=0.25/4x1")
    layers += ("pooler.dense",)
    chosen = choose_layers(model, PruningOptions(0.5, layers))
    assert chosen.pop("encoder.layer.0.intermediate.dense") == LayerPruning(0.8, "none")
    assert chosen.pop("embeddings.word_embeddings") == LayerPruning(0.25, "4x1")
    assert set(chosen.values()) == {LayerPruning(0.5, "none")}
    assert len(chosen) == 6
    # The last that matches counts.
    overruled = choose_layers(model, PruningOptions(0.5, ("pooler.*=0.8", "*"), "2x1"))
    assert overruled["pooler.dense"] == LayerPruning(0.5, "2x1")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("decoder.*", r"no layer is called 'decoder\.\*'; its layers are embeddings\.word"),
        ("encoder.*=half", r"the sparsity of encoder\.\* is nan"),
        (
            "encoder.*=0.5/2:4",
            r"2:4 is a pattern of all layers; encoder\.\* may have none or blocks",
        ),
        ("encoder.*/diagonal", r"unknown pattern 'diagonal'"),
        ("encoder.*=1", r"the sparsity of encoder\.\* is 1\.0"),
        # A position table is no layer of Keras' that tfmot could prune.
        ("embeddings.position_embeddings", "no layer is called"),
    ],
)
def test_layers_that_are_none(model: keras.Model, layer: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_layers(model, PruningOptions(0.5, (layer,)))


def test_tables_have_no_pattern_of_products(model: keras.Model) -> None:
    with pytest.raises(InputError, match=r"word_embeddings cannot have the pattern 2:4"):
        choose_layers(model, PruningOptions(0.5, ("*word_embeddings",), "2:4"))


@settings(max_examples=200, deadline=None)
@given(steps=st.integers(1, 5000), schedule=st.sampled_from(["polynomial", "constant"]))
def test_defaults_fire_and_end_in_time(steps: int, schedule: str) -> None:
    found = timing(PruningOptions(schedule=schedule), steps)
    fires = found.fires(steps)
    assert fires[0] == 1
    assert fires[-1] == found.end <= max(1, round(0.75 * steps))
    assert len(fires) <= 41
    assert steps < 30 or len(fires) >= 20


@settings(max_examples=50, deadline=None)
@given(
    begin=st.integers(0, 12),
    length=st.integers(1, 12),
    frequency=st.integers(1, 7),
    schedule=st.sampled_from(["polynomial", "constant"]),
)
def test_fires_are_those_of_tfmot(begin: int, length: int, frequency: int, schedule: str) -> None:
    when = Timing(begin, begin + length, frequency)
    made = _schedule(0.5, PruningOptions(schedule=schedule), when)
    # tfmot's wrappers count from 1.
    steps = [step for step in range(1, 31) if bool(made(tf.constant(step, tf.int64))[0])]
    assert list(when.fires(30)) == steps


@pytest.mark.parametrize(
    ("changes", "steps", "message"),
    [
        # tfmot's own default in a short run (it says nothing).
        ({"begin_step": 0, "end_step": 99, "frequency": 100}, 99, "would never prune: it does"),
        ({"begin_step": 60, "end_step": 80, "frequency": 5}, 50, "the run has 50 steps"),
        ({"begin_step": 51}, 50, "would never prune"),
        ({"begin_step": 0, "end_step": 0}, 50, "would never prune"),
        ({"begin_step": 30, "end_step": 20}, 50, "end_step not before begin_step"),
        ({"end_step": 40, "frequency": 0}, 50, "frequency at least 1"),
        # Half of the way would look like success.
        ({"end_step": 80, "frequency": 1}, 50, "would not reach its sparsity.* last at step 50"),
        ({"begin_step": 1, "end_step": 40, "frequency": 10}, 50, "last at step 31 of a run of 50"),
    ],
)
def test_schedules_that_do_not_do_it(changes: dict[str, int], steps: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        timing(PruningOptions(**changes), steps)


@settings(max_examples=50, deadline=None)
@given(end=st.integers(1, 400), frequency=st.one_of(st.none(), st.integers(1, 400)), data=st.data())
def test_begins_so_that_it_ends_where_it_was_told(
    end: int, frequency: int | None, data: st.DataObject
) -> None:
    assume(frequency is None or frequency < end)
    steps = data.draw(st.integers(end, 2 * end))
    found = timing(PruningOptions(end_step=end, frequency=frequency), steps)
    fires = found.fires(steps)
    assert fires[-1] == end
    assert 1 <= fires[0] <= found.frequency


def test_constant_schedule_may_end_anywhere() -> None:
    options = PruningOptions(schedule="constant", begin_step=10, end_step=999, frequency=100)
    assert list(timing(options, 50).fires(50)) == [10]
