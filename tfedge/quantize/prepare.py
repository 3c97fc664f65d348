"""Builds the graph that a quantisation mode converts, with weights and ranges put in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tf_keras as keras

from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build, junctions
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.quantize.calibrate import Calibration, Observer, calibrate
from tfedge.quantize.equalize import channel_factors, equalize
from tfedge.quantize.fake_quant import fake_quant_tap

# Forward passes over the calibration texts: one for the channels' peaks, two for the ranges.
PASSES = 3


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is built: the task's head and the static shape of the graph."""

    task: str
    num_labels: int
    sequence_length: int
    normalize: bool = True

    def options(self, **changes: object) -> GraphOptions:
        """The options of the static graph, with `changes`."""
        static = GraphOptions(1, self.sequence_length, normalize=self.normalize)
        return dataclasses.replace(static, **changes)  # type: ignore[arg-type]


def float_graph(checkpoint: Checkpoint, shape: Shape) -> keras.Model:
    """The static graph as trained.

    Raises:
        CheckpointError: the weights do not fit.
    """
    model = build(checkpoint.config, shape.task, shape.num_labels, shape.options()).model
    load_weights(model, checkpoint, shape.task)
    return model


def int8_graph(
    checkpoint: Checkpoint,
    shape: Shape,
    sequences: Sequence[np.ndarray],
    progress: Callable[[int], None] = lambda count: None,
) -> tuple[keras.Model, Calibration]:
    """The static graph with equalised channels and the range of every integer tensor put in.

    Args:
        sequences: token ids of the calibration texts, int32 (n,) each.
        progress: called with a number of texts whenever as many have run, `PASSES` times for each.
    """
    config = checkpoint.config
    dynamic = GraphOptions(normalize=shape.normalize)
    plain = build(config, shape.task, shape.num_labels, dynamic)
    load_weights(plain.model, checkpoint, shape.task)
    connections = junctions(config)
    factors = channel_factors(Observer(plain, sequences, progress), connections)
    even = build(config, shape.task, shape.num_labels, dataclasses.replace(dynamic, equalized=True))
    load_weights(even.model, checkpoint, shape.task)
    equalize(even.model, connections, factors)
    calibration = calibrate(Observer(even, sequences, progress))
    options = shape.options(
        equalized=True,
        mask_value=calibration.mask_value,
        tap=fake_quant_tap(calibration.ranges),
    )
    model = build(config, shape.task, shape.num_labels, options).model
    model.set_weights(even.model.get_weights())
    return model, calibration
