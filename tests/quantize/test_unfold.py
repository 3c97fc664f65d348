"""Weights taken back out of a lowered graph: what is written after training for int8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from lowered import lowered

from tfedge.models.blocks import GraphOptions
from tfedge.models.checkpoint import Checkpoint, parameters
from tfedge.quantize.prepare import Shape

LENGTH = 16


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_unfolding_gives_the_weights_back(
    architecture: str, outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint(architecture, small=True)
    lowering = lowered(checkpoint, Shape("text-classification", 2, LENGTH), sequences)
    folded = lowering.build(GraphOptions()).model
    kept = {parameter.name: parameter.variable.numpy() for parameter in parameters(folded)}
    changed = 0
    for parameter in parameters(lowering.unfold(folded)):
        wanted = {p.name: p for p in parameters(lowering.weights)}[parameter.name].variable
        np.testing.assert_allclose(parameter.variable, wanted, rtol=1e-6, atol=1e-9)
        changed += not np.allclose(kept[parameter.name], wanted, rtol=1e-3)
    assert changed > 4
