"""A change of the graph that only this file knows: nothing else asks what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from lowered import lowered

from tfedge.architectures.kinds import FREE, Kind
from tfedge.models.blocks import GraphOptions, Symbolic
from tfedge.models.build import Encoder
from tfedge.models.checkpoint import Checkpoint, parameters
from tfedge.quantize import record
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.integer import IntegerBlocks
from tfedge.quantize.prepare import Lowering, Shape, prepare
from tfedge.quantize.record import read_decisions, write_decisions
from tfedge.quantize.rewrite import Decision, Rewrite

TASK = "text-classification"
DENSE = "encoder.layer.0.output.dense"
PATH = f"{DENSE}.excess"


class TwoPaths(IntegerBlocks):
    """A dense layer as two that are added up, each with a range of its own."""

    def dense(self, name: str, units: int, x: Symbolic, kind: Kind = FREE) -> Symbolic:
        y = super().dense(name, units, x, kind)
        if name not in self.decisions["paths"]:
            return y
        return self.add(f"{name}.whole", y, super().dense(f"{name}.excess", units, x))


class Excess(Rewrite):
    """Neurons of the largest weights get a path of their own."""

    key = "paths"
    passes = 1
    blocks = TwoPaths

    def decide(self, lowering: Lowering, observe: Callable[[Encoder], Observer]) -> Decision:
        assert {"factors", "plans"} <= lowering.decided.keys()
        graph = lowering.build(lowering.shape.options())
        peaks = [
            np.abs(tensors["encoder.layer.0.intermediate.dense.act"]).max((0, 1, 2))
            for tensors in observe(graph).tensors()
        ]
        return {DENSE: np.argsort(-np.max(peaks, axis=0))[:3].tolist()}

    def apply(self, lowering: Lowering, encoder: Encoder, blocks: type[IntegerBlocks]) -> None:
        for name, neurons in lowering.decided[self.key].items():
            kernel, bias = encoder.model.get_layer(name).get_weights()
            excess = np.zeros_like(kernel)
            excess[neurons], kernel[neurons] = kernel[neurons], 0
            encoder.model.get_layer(name).set_weights([kernel, bias])
            encoder.model.get_layer(PATH).set_weights([excess, 0 * bias])

    def undo(self, lowering: Lowering, plain: keras.Model, model: keras.Model) -> None:
        for name in lowering.decided[self.key]:
            plain.get_layer(name).kernel.assign_add(model.get_layer(PATH).kernel)

    def misfits(self, lowering: Lowering, decision: Decision) -> set[str]:
        return {name for name in decision if name not in lowering.plain.tapped}


@pytest.mark.parametrize("graph", ["integer", "edgetpu-plain"])
def test_a_made_up_rewrite_goes_all_the_way(
    graph: str,
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint = outlier_checkpoint("bert", small=True)
    inputs: dict[str, Any] = {"input_ids": sequences[0][np.newaxis]}
    inputs["attention_mask"] = np.ones_like(inputs["input_ids"])
    inputs["token_type_ids"] = np.zeros_like(inputs["input_ids"])

    shape = Shape(TASK, 2, 16, graph=graph)
    expected = lowered(checkpoint, shape, sequences).dynamic.model(inputs)["logits"]
    monkeypatch.setattr(record, "REWRITES", (*record.REWRITES, Excess()))
    prepared = prepare(checkpoint, shape, sequences)
    lowering = prepared.lowering
    found = lowering.dynamic.model(inputs)["logits"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # Both paths and their sum have ranges, and the static graphs have both.
    assert {DENSE, PATH, f"{DENSE}.whole"} <= prepared.calibration.ranges.keys()
    static = prepared.graphs()[16]
    assert static.get_layer(f"{PATH}.quant")
    if graph == "integer":
        mixed = prepared.graphs({PATH: "float"})[16]
        assert type(mixed.get_layer(PATH)) is keras.layers.Dense

    # What it decided is kept beside the weights, and taken from there.
    write_decisions(checkpoint.folder, lowering.decisions(prepared.calibration))
    decisions = read_decisions(checkpoint, TASK, graph)
    assert decisions is not None
    assert decisions.rewrites["paths"] == lowering.decided["paths"]
    again = prepare(checkpoint, shape, [], decisions=decisions)
    assert again.lowering.decided["paths"] == lowering.decided["paths"]

    # Trained weights find their way back into the plain graph.
    wanted = {item.name: item.variable.numpy() for item in parameters(lowering.weights)}
    for parameter in parameters(lowering.unfold(lowering.build(GraphOptions()).model)):
        np.testing.assert_allclose(parameter.variable, wanted[parameter.name], rtol=1e-6, atol=1e-8)
