"""Attentions whose keys are filled up compute what the plain ones do."""

from __future__ import annotations

from collections.abc import Callable

import cases
import numpy as np
import pytest
from lowered import lowered

from tfedge.models.blocks import GraphOptions
from tfedge.models.build import Encoder, build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.config import parse_config
from tfedge.quantize.integer import IntegerBlocks
from tfedge.quantize.prepare import Shape

TASK = "token-classification"


def _inputs(length: int, real: int) -> dict[str, np.ndarray]:
    """A text of so many real tokens."""
    ids = np.random.default_rng(0).integers(5, 30, (1, length)).astype(np.int32)
    mask = (np.arange(length) < real).astype(np.int32)[np.newaxis]
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": 0 * ids}


def _keys(encoder: Encoder) -> set[int]:
    """How many keys the scores are of."""
    return {
        int(tensor.shape[-1])
        for name, tensor in encoder.tapped.items()
        if name.endswith((".scores", ".masked_scores"))
    }


@pytest.mark.parametrize("length", [6, 12, 16])
def test_same_outputs_as_the_plain_graph(
    length: int, outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint("bert", TASK)
    plain = build(checkpoint.config, TASK, 2, GraphOptions(normalize=False))
    load_weights(plain.model, checkpoint, TASK)
    lowering = lowered(checkpoint, Shape(TASK, 2, 16, normalize=False), sequences)
    lowering.decided["plans"] = {}
    encoder = lowering.build(GraphOptions(1, length, normalize=False))
    assert _keys(encoder) == {16}
    for real in (length, length - 2):
        inputs = _inputs(length, real)
        expected = plain.model(inputs)["logits"][:, :real]
        scale = max(1.0, float(np.abs(expected).max()))
        actual = encoder.model(inputs)["logits"][:, :real]
        np.testing.assert_allclose(actual, expected, atol=1e-4 * scale)


@pytest.mark.parametrize("name", ["mpnet", "deberta-v2", "modernbert"])
def test_where_places_add_to_scores_nothing_is_filled_up(name: str) -> None:
    config = parse_config(cases.CONFIGS[name])
    assert _keys(build(config, TASK, 2, GraphOptions(1, 12), IntegerBlocks)) == {12}
