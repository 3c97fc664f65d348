"""Scales of their own for what dense layers read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lowered import lowered

from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.bias import correct_bias
from tfedge.quantize.calibrate import Observer, calibrate
from tfedge.quantize.equalize import Ends
from tfedge.quantize.prepare import Lowering, Prepared, Shape
from tfedge.quantize.reads import Reads, best_factors

TASK = "text-classification"
STREAMS = ("encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm")
READERS = ("encoder.layer.0.attention.self.query", "encoder.layer.0.intermediate.dense")


@pytest.fixture
def lowering(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> Lowering:
    return lowered(outlier_checkpoint("bert", small=True), Shape(TASK, 2, 16), sequences)


def _inputs(sequence: np.ndarray) -> dict[str, Any]:
    inputs = {"input_ids": sequence[np.newaxis]}
    inputs["attention_mask"] = np.ones_like(inputs["input_ids"])
    inputs["token_type_ids"] = np.zeros_like(inputs["input_ids"])
    return inputs


def _some_factors(lowering: Lowering) -> dict[str, list[float]]:
    width = lowering.config.hidden_size
    factors = np.exp(np.random.default_rng(0).normal(size=(2, width)))
    return dict(zip(STREAMS, factors.tolist(), strict=True))


@pytest.mark.parametrize("changes", [{}, {"prune_last_layer": True}, {"dropout": True}])
def test_factors_of_their_own_change_nothing_in_float(
    changes: dict[str, Any], lowering: Lowering, sequences: list[np.ndarray]
) -> None:
    options = lowering.shape.options(**changes)
    lowering.decided["reads"] = {}
    expected = [lowering.build(options).model(_inputs(item))["logits"] for item in sequences[:4]]
    lowering.decided["reads"] = _some_factors(lowering)
    encoder = lowering.build(options)
    assert {"embeddings.LayerNorm.read", f"{STREAMS[0]}.read"} <= encoder.kinds.keys()
    found = [encoder.model(_inputs(item))["logits"] for item in sequences[:4]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("site", ["embeddings.LayerNorm", READERS[1]])
def test_either_end_may_be_in_float(
    site: str, lowering: Lowering, sequences: list[np.ndarray]
) -> None:
    inputs = _inputs(sequences[0])
    exact = lowering.plain.model(inputs)["logits"]
    lowering.decided["reads"] = _some_factors(lowering)
    ranges = calibrate(Observer(lowering.build_clipped(lowering.shape.options()), sequences))
    prepared = Prepared(lowering, ranges)
    whole, mixed = (
        float(np.abs(prepared.rounded(given).model(inputs)["logits"] - exact).max())
        for given in ({}, dict.fromkeys(lowering.dynamic.sites, "float") | {site: "int8"})
    )
    assert mixed < whole


def test_biases_are_corrected_from_state_to_state(
    lowering: Lowering, sequences: list[np.ndarray]
) -> None:
    lowering.decided["reads"] = _some_factors(lowering)
    observer = Observer(lowering.build_clipped(lowering.shape.options()), sequences)
    prepared = Prepared(lowering, calibrate(observer))
    assert set(correct_bias(prepared, sequences).shifts) == set(prepared.norms)


def test_folding_is_undone(lowering: Lowering) -> None:
    lowering.decided["reads"] = _some_factors(lowering)
    model = lowering.build(lowering.shape.options()).model
    plain = lowering.unfold(model)
    for reader in READERS:
        expected = lowering.weights.get_layer(reader).kernel.numpy()
        np.testing.assert_allclose(plain.get_layer(reader).kernel, expected, rtol=1e-5)


def test_readers_get_factors_where_those_of_the_stream_do_not_suit_them() -> None:
    generator = np.random.default_rng(0)
    read = generator.normal(size=(512, 64)).astype(np.float32)
    kernel = generator.normal(size=(64, 64)).astype(np.float32)
    ends, tops = Ends(np.ones(64), [kernel]), np.abs(read).max(axis=0)
    assert best_factors(ends, read, tops, np.ones(64)) is None
    shared = np.ones(64)
    shared[3] = 500.0  # what a dense layer adds in one channel is so much larger
    chosen = best_factors(ends, read, tops, shared)
    assert chosen is not None
    assert chosen[3] < 2


def test_misfits_are_told(lowering: Lowering) -> None:
    good = _some_factors(lowering)
    wrong = {STREAMS[0]: good[STREAMS[0]][:-1], STREAMS[1]: good[STREAMS[1]], "nothing": [1.0]}
    assert Reads().misfits(lowering, good) == set()
    assert Reads().misfits(lowering, wrong) == {STREAMS[0], "nothing"}
    negative = {STREAMS[0]: [-1.0, *good[STREAMS[0]][1:]]}
    assert Reads().misfits(lowering, negative) == {STREAMS[0]}
