"""Rounds weights to fewer values than 8 bits have, so that a file compresses better.

They are stored in 8 bits as before and run in the same kernels; what gzip or xz writes of them is
about the entropy of their values, a bit less for each bit less of rounding. For a smaller download
that costs far less exactness than zeros do: tinybert's table of words with a scale a column, rounded
to 6 bits, takes 0.76 of gzip's bytes for a squared error of 0.002 of its own; half zero 0.75 for 0.07.

Steps are even and reach to the largest weight. To clip it, as is best for a given number of values,
makes finer steps, whose values have more entropy than the exactness won is worth (uniform scalar
quantisation with entropy coding, Gish and Pierce 1968).
"""

from __future__ import annotations

from collections.abc import Container, Iterator

import numpy as np
import tf_keras as keras

from tfedge.models.layers import PatchDense
from tfedge.quantize.modes import MOST_BITS


def round_weights(model: keras.Model, bits: float, left: Container[str] = ()) -> None:
    """Rounds the weights of a graph that the converter turns into integers; biases stay.

    Args:
        bits: of the values, 4 to 8, of which there are one fewer than 2 to that power; with 8 all
            stays as it is, and the converter rounds.
        left: names of layers that stay as they are.
    """
    if bits == MOST_BITS:
        return
    for layer in model.layers:
        for variable, axes in _weights(layer):
            if layer.name not in left:
                variable.assign(_rounded(variable.numpy(), bits, axes))


def _weights(layer: keras.layers.Layer) -> Iterator[tuple[keras.Variable, tuple[int, ...] | None]]:
    """A layer's matrix, if it has one, and the axes along which an integer tensor has one scale."""
    if isinstance(layer, (keras.layers.Dense, PatchDense)):
        yield layer.kernel, tuple(range(len(layer.kernel.shape) - 1))
    elif isinstance(layer, keras.layers.Embedding):
        yield layer.embeddings, None


def _rounded(values: np.ndarray, bits: float, axes: tuple[int, ...] | None) -> np.ndarray:
    peaks = np.abs(values).max(axis=axes, keepdims=True)
    steps = np.where(peaks > 0, peaks, 1) / (int(2 ** (bits - 1)) - 1)
    return np.rint(values / steps) * steps
