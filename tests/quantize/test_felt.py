"""What answers feel of errors inside an encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tfedge.data.batches import batches_of_equals
from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.felt import NEGLIGIBLE, felt_most, flattened
from tfedge.quantize.prepare import Lowering, Shape

NORM = "encoder.layer.0.attention.output.LayerNorm"


def _answers(lowering: Lowering, sequences: list[np.ndarray]) -> np.ndarray:
    names = tuple(lowering.weights.input_names)
    found = {}
    for indices, batch in batches_of_equals(sequences, names):
        (answers,) = lowering.plain.model(batch).values()
        found.update(zip(indices, answers.numpy(), strict=True))
    return np.array([found[index] for index in sorted(found)])


@pytest.mark.parametrize("task", ["text-classification", "sentence-embedding"])
def test_the_loss_is_that_of_the_answers(
    task: str, outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint("bert", task, small=True)
    lowering = Lowering(checkpoint, Shape(task, 2, 16), sequences)
    felt, exact = lowering.felt, _answers(lowering, sequences)
    assert felt.spread == pytest.approx(np.sum((exact - exact.mean(axis=0)) ** 2), rel=1e-3)
    beta = lowering.weights.get_layer(NORM).beta
    error = 1e-3 * np.random.default_rng(0).normal(size=beta.shape).astype(np.float32)
    beta.assign_add(error)
    true = np.sum((_answers(lowering, sequences) - exact) ** 2) / 2 / felt.spread
    tokens = np.broadcast_to(error, felt.values[NORM].shape)
    found = felt.loss(felt.together(NORM, felt.moved(NORM, tokens)))
    assert 0.5 * true < found < 2 * true  # random signs, a sample of each


def test_the_steepest_tenth_counts_no_more_than_the_next() -> None:
    slopes = np.ones((20, 2))
    slopes[3:6] *= np.array([[4.0], [3.0], [2.0]])  # a tenth are the first two of these
    found = flattened({"x": slopes}, {"x": np.arange(20)})["x"]
    slopes[3:6] = 2
    np.testing.assert_allclose(found, slopes, rtol=1e-6)


def test_least_is_given_up_first() -> None:
    losses = {"a": 0.8, "b": 0.5, "c": 0.4, "d": -0.01}
    assert felt_most({name: NEGLIGIBLE * loss for name, loss in losses.items()}) == {"a"}
    assert felt_most({"a": NEGLIGIBLE, "b": -NEGLIGIBLE / 9}) == set()
    assert felt_most({"a": 1.1 * NEGLIGIBLE}) == {"a"}
