"""Thresholds of a head for several labels a text, while it is trained and once it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.train.examples import run_over
from tfedge.train.run import TrainingRun


def head(run: TrainingRun, model: keras.Model) -> list[keras.layers.Layer]:
    """The dense layer that gives the logits, if the task has one."""
    return [model.get_layer(name) for name in run.task.logits_modules(run.config)]


def logits_of_held_out(run: TrainingRun, model: keras.Model) -> Callable[[], np.ndarray]:
    """What computes those of the held-out texts as `model` then is, float32 (n, L)."""
    assert run.held_out is not None
    return run_over(
        run.held_out, model, lambda inputs: tf.cast(model(inputs)["logits"], tf.float32)
    )


class Thresholds:
    """Moves the biases of a head so that the threshold that every program takes, 0.5, is the best one
    on the held-out texts."""

    def __init__(self, run: TrainingRun, model: keras.Model) -> None:
        self._run, self._layers = run, head(run, model)
        self._logits = logits_of_held_out(run, model)

    def set(self) -> None:
        """Moves them."""
        assert self._run.held_out is not None
        shift = self._run.task.shift(self._logits(), self._run.held_out.labels)
        for layer in self._layers:
            layer.bias.assign_add(shift)

    def within(self, measure: Callable[[], float]) -> Callable[[], float]:
        """What measures with the best thresholds, and leaves the model as it is: at 0.5 a label that
        few texts have is given to none until training is almost over."""

        def measured() -> float:
            biases = [layer.bias.numpy() for layer in self._layers]
            self.set()
            try:
                return measure()
            finally:
                for layer, bias in zip(self._layers, biases, strict=True):
                    layer.bias.assign(bias)

        return measured


def thresholds_of(run: TrainingRun, model: keras.Model) -> Thresholds | None:
    """Those of a model, where its task has any and there are texts to find them on."""
    return Thresholds(run, model) if run.task.has_thresholds and run.held_out is not None else None
