"""Rounds weights to fewer values than 8 bits have, so that a file compresses better.

They are stored in 8 bits as before and run in the same kernels; what gzip or xz writes of them is
about the entropy of their values, a bit less for each bit less of rounding. For a smaller download
that costs far less exactness than zeros do: rounding a Gaussian's values to 6 bits saves as much of
gzip's bytes as making half of them zero, for a squared error of 0.002 of theirs in place of 0.07.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import tf_keras as keras

from tfedge.models.layers import PatchDense
from tfedge.quantize.weights import round_nearest


class WeightRounding:
    """Rounds the weights of a graph that the converter turns into integers; biases stay.

    Graphs of one model must be given to one object: it rounds a layer once, by its name.

    Args:
        bits: of the values, 4 to 8; with 8 all stays as it is, and the converter rounds.
    """

    def __init__(self, bits: int = 8) -> None:
        self._bits = bits
        self._rounded: dict[str, np.ndarray] = {}

    def __call__(
        self, model: keras.Model, is_float: Callable[[str], bool] = lambda name: False
    ) -> None:
        """Rounds the weights of `model`, but for the layers whose names `is_float` is True of."""
        if self._bits == 8:
            return
        for layer in model.layers:
            for variable, per_channel in _weights(layer):
                if not is_float(layer.name):
                    variable.assign(self._round(layer.name, variable.numpy(), per_channel))

    def _round(self, name: str, values: np.ndarray, per_channel: bool) -> np.ndarray:
        if name not in self._rounded:
            # Channels of outputs come last.
            rows = values.reshape(-1, values.shape[-1]).T
            rounded = round_nearest(rows, self._bits, per_row=per_channel).values
            self._rounded[name] = rounded.T.reshape(values.shape)
        return self._rounded[name]


def _weights(layer: keras.layers.Layer) -> Iterator[tuple[keras.Variable, bool]]:
    """A layer's matrix, if it has one, and whether an integer tensor has a scale for each channel of
    it."""
    if isinstance(layer, (keras.layers.Dense, PatchDense)):
        yield layer.kernel, True
    elif isinstance(layer, keras.layers.Embedding):
        yield layer.embeddings, False
