"""Early stopping: when more training makes a model no better, and which of its weights were best."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class EarlyStopping(tf.Module):
    """Keeps the weights that were best on held-out texts, and says when to wait no longer.

    What it knows is in variables, so that it goes into the checkpoints and is resumed with them.

    Args:
        weights: the variables that are trained.
        patience: how many measurements in a row may be no better than the best.
        first_step: earlier ones are not counted: weights that are yet to be pruned, say.
    """

    def __init__(self, weights: Sequence[tf.Variable], patience: int, first_step: int = 0) -> None:
        super().__init__()
        self._weights = list(weights)
        self._patience = patience
        self._first_step = first_step
        self.best = [tf.Variable(weight, trainable=False) for weight in weights]
        self.accuracy = tf.Variable(-1.0, trainable=False, dtype=tf.float64)
        self.waited = tf.Variable(0, trainable=False, dtype=tf.int64)

    def is_over(self, accuracy: float, step: int) -> bool:
        """Notes an accuracy, 0..1, and tells whether training is to end."""
        if step < self._first_step:
            return False
        if accuracy > float(self.accuracy):
            self.accuracy.assign(accuracy)
            self.waited.assign(0)
            _assign(self.best, self._weights)
        else:
            self.waited.assign_add(1)
        return int(self.waited) >= self._patience

    def keep_best(self) -> None:
        """Gives the model its best weights back, if any were counted."""
        if float(self.accuracy) >= 0:
            _assign(self._weights, self.best)


def _assign(targets: Sequence[tf.Variable], sources: Sequence[tf.Variable]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.assign(source)
