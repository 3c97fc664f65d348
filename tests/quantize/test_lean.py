"""Graphs for modes that need no ranges compute what the plain graph computes."""

from __future__ import annotations

from collections.abc import Callable

import cases
import numpy as np
import pytest

from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.quantize.lean import lean_graphs, wide_graphs
from tfedge.quantize.prepare import Shape

CASES = [
    ("bert", "text-classification"),
    ("bert", "token-classification"),
    ("bert", "sentence-embedding"),
    ("bert", "question-answering"),
    ("distilbert", "text-classification"),
    ("distilbert", "sentence-embedding"),
    ("mobilebert", "text-classification"),
    ("mobilebert", "sentence-embedding"),
]
# One layer after another; of the others one is enough.
DEEPER = ("bert", "text-classification")


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_same_outputs_as_the_plain_graph(
    architecture: str,
    task: str,
    wide: bool,
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
) -> None:
    checkpoint = outlier_checkpoint(architecture, task, small=(architecture, task) != DEEPER)
    inputs = {name: value[:1] for name, value in cases.batch(checkpoint.config.source).items()}
    length = inputs["input_ids"].shape[1]
    # Embeddings for 16 bits are brought to length 1 by whoever reads them.
    shape = Shape(task, 2, length, normalize=not wide, buckets=(length - 1,))
    plain = build(checkpoint.config, task, 2, GraphOptions(normalize=shape.normalize))
    load_weights(plain.model, checkpoint, task)
    graphs = wide_graphs(checkpoint, shape, sequences) if wide else lean_graphs(checkpoint, shape)
    assert list(graphs) == [length, length - 1]
    first, second = ({id(item) for item in graph.variables} for graph in graphs.values())
    assert first == second  # one copy of the weights for all lengths
    for tokens, graph in graphs.items():
        cut = {name: value[:, :tokens] for name, value in inputs.items()}
        actual = graph(cut)
        for name, expected in plain.model(cut).items():
            scale = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(actual[name], expected, atol=1e-4 * scale)


def test_the_mask_is_no_lower_than_scores_need(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    """What -10,000 does to the steps of 16 bits is what this graph is for."""
    checkpoint = outlier_checkpoint("bert", small=True)
    graphs = wide_graphs(checkpoint, Shape("text-classification", 2, 8), sequences)
    hidden = graphs[8].get_layer("attention_bias")(np.zeros((1, 8), np.int32))
    assert -1000 < np.max(hidden) < -16
