"""What rounding does to the means of norms, and that it is taken back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import lowered
import numpy as np
import pytest

from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize import bias
from tfedge.quantize.bias import correct_bias
from tfedge.quantize.mixed import Precision, match_sites
from tfedge.quantize.prepare import Prepared, Shape
from tfedge.quantize.rounding import with_rounding

MIXED = {"norm": "float", "encoder.layer.0.intermediate.dense": "dynamic"}
CASES = [
    pytest.param("bert", "text-classification", "integer", {}, marks=pytest.mark.slow),
    ("bert", "text-classification", "integer", MIXED),
    pytest.param("bert", "sentence-embedding", "edgetpu", {}, marks=pytest.mark.slow),
    pytest.param("distilbert", "question-answering", "integer", {}, marks=pytest.mark.slow),
    *(
        pytest.param("mobilebert", "text-classification", "integer", rules, marks=pytest.mark.slow)
        for rules in ({}, {"norm": "float"})
    ),
]


@pytest.mark.parametrize(("architecture", "task", "graph", "rules"), CASES)
def test_means_are_those_of_float(
    architecture: str,
    task: str,
    graph: str,
    rules: dict[str, Precision],
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
) -> None:
    checkpoint = outlier_checkpoint(architecture, task, small=bool(rules))
    prepared = lowered.prepared(checkpoint, Shape(task, 2, 16, graph=graph), sequences)
    steps: list[int] = []
    precisions = match_sites(rules, prepared.encoder().sites)
    corrected = correct_bias(prepared, sequences, steps.append, precisions)
    assert list(corrected.shifts) == prepared.norms
    assert steps == [1] * len(prepared.norms)
    before, after = (_mean_errors(item, sequences, precisions) for item in (prepared, corrected))
    for name in prepared.norms:
        assert after[name] <= 0.5 * before[name], name
    assert np.median([after[name] / before[name] for name in prepared.norms]) < 0.1


def _mean_errors(
    prepared: Prepared, sequences: list[np.ndarray], precisions: dict[str, Precision]
) -> dict[str, float]:
    """The root mean square over the channels of each norm's mean error, by name."""
    exact = prepared.lowering.build_clipped(prepared.options())
    rounded = prepared.rounded(precisions)
    names = tuple(exact.model.input_names)
    batches = [batch for _, batch in bias.batches_of_equals(sequences, names)]
    outputs = (
        {name: exact.tapped[name] for name in prepared.norms},
        bias._unrounded(rounded, prepared.norms, precisions),
    )
    wanted, found = (
        bias._means(bias._runner(bias._inputs(encoder), tensors), batches)
        for encoder, tensors in zip((exact, rounded), outputs, strict=True)
    )
    return {name: float(np.sqrt(np.mean((found[name] - wanted[name]) ** 2))) for name in wanted}


@pytest.fixture(scope="module")
def corrected(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> Prepared:
    checkpoint = outlier_checkpoint("bert", small=True)
    shape = Shape("text-classification", 2, 16, buckets=(8,))
    return correct_bias(lowered.prepared(checkpoint, shape, sequences), sequences)


def test_every_length_is_shifted_and_not_the_reference(corrected: Prepared) -> None:
    plain = dataclasses.replace(corrected, shifts={}).encoder().model
    first, *others = corrected.norms
    graphs = [*corrected.graphs().values(), *corrected.graphs({first: "float"}).values()]
    references = corrected.references().values()
    for name in others:
        before = plain.get_layer(name).beta.numpy()
        for model in graphs:
            shift = model.get_layer(name).beta.numpy() - before
            assert shift == pytest.approx(corrected.shifts[name], abs=1e-6)
        assert all(np.array_equal(model.get_layer(name).beta, before) for model in references)


def test_the_same_texts_give_the_same_shifts(
    corrected: Prepared, sequences: list[np.ndarray]
) -> None:
    again = correct_bias(dataclasses.replace(corrected, shifts={}), sequences)
    for name, shift in corrected.shifts.items():
        assert np.array_equal(again.shifts[name], shift)


def test_constants_that_are_rounded_once_give_the_same(
    corrected: Prepared, sequences: list[np.ndarray]
) -> None:
    (_, batch), *_ = bias.batches_of_equals(sequences, ("input_ids", "attention_mask"))
    kept, anew = corrected.rounded(), corrected._build(None, None, with_rounding)
    batch = {name: batch.get(name, np.zeros_like(batch["input_ids"])) for name in kept.model.input}
    first = kept.model(batch)["logits"]
    np.testing.assert_allclose(first, anew.model(batch)["logits"], atol=1e-5)
    # The rounding is in what is kept: the layer's weights may change without it.
    layer = kept.model.get_layer("encoder.layer.0.intermediate.dense")
    layer.kernel.assign(layer.kernel * 0)
    np.testing.assert_array_equal(first, kept.model(batch)["logits"])


def test_many_texts_are_thinned() -> None:
    assert bias._spread(3) == [0, 1, 2]
    found = bias._spread(1000)
    assert (found[0], found[-1], len(found)) == (0, 999, 64)
    assert max(np.diff(found)) - min(np.diff(found)) == 1
