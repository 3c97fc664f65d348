"""Evens out the channels of the residual stream, without changing what the model computes.

A few channels of a BERT's residual sums are tens of times larger than the rest, so one 8-bit scale
for the tensor leaves the others no resolution. Each stream x is carried as x / t instead, with one
factor a channel: t goes into the gains, biases and weights on either side, and a layer norm, which
is not linear, multiplies its input by t first. The same idea as SmoothQuant (Xiao et al. 2023,
arXiv:2211.10438, equation 4) and Outlier Suppression+ (Wei et al. 2023, arXiv:2304.09145), along
the residual connections too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import tf_keras as keras

from tfedge.models.blocks import Junction
from tfedge.models.checkpoint import parameters
from tfedge.quantize.calibrate import Observer

# How much of a channel's excess moves from the activations into the weights (SmoothQuant's
# migration strength); 1 would make all channels equal and the weights as uneven as those were.
# Below SmoothQuant's 0.5, because tflite-runtime needs dense weights quantised per tensor: on the
# shipped TinyBERT the logits' error is 0.52 at 0.5, 0.43 at 0.35 and 0.43 at 0.25.
STRENGTH = 0.35


def channel_factors(
    observer: Observer, junctions: Iterable[Junction], strength: float = STRENGTH
) -> dict[str, np.ndarray]:
    """The factors t (C,) of each junction's stream, by the name of its source.

    Args:
        observer: runs the model that is to be equalised.
    """
    streams = {
        junction.source: (junction.source, junction.dense, junction.total) for junction in junctions
    }
    peaks: dict[str, np.ndarray] = {}
    for tensors in observer.tensors():
        for name in {name for names in streams.values() for name in names}:
            peak = np.abs(tensors[name]).max(axis=(0, 1))
            peaks[name] = np.maximum(peaks.get(name, 0.0), peak)
    return {
        source: np.max([_relative(peaks[name]) for name in names], axis=0) ** strength
        for source, names in streams.items()
    }


def _relative(peak: np.ndarray) -> np.ndarray:
    """Each channel's peak in units of their geometric mean; ones for a tensor that is all zero."""
    safe = np.maximum(peak, max(1e-6 * peak.max(), np.finfo(np.float32).tiny))
    return safe / np.exp(np.log(safe).mean())


def equalize(
    model: keras.Model, junctions: Iterable[Junction], factors: Mapping[str, np.ndarray]
) -> None:
    """Folds the factors of `channel_factors` into the weights of `model`.

    Args:
        model: built with `equalized=True`; its weights are changed.
    """
    weights = {parameter.name: parameter.variable for parameter in parameters(model)}

    def multiply(name: str, factor: np.ndarray) -> None:
        # Keras keeps kernels as (in, out): factors of outputs broadcast, of inputs need an axis.
        weights[name].assign(weights[name].numpy() * factor)

    for junction in junctions:
        factor = factors[junction.source].astype(np.float32)
        for part in ("weight", "bias"):
            multiply(f"{junction.source}.{part}", 1 / factor)
            multiply(f"{junction.dense}.{part}", 1 / factor)
        for reader in junction.readers:
            multiply(f"{reader}.weight", factor[:, None])
        norm = model.get_layer(junction.norm)
        if hasattr(norm, "input_scale"):
            norm.input_scale.assign(factor)
        else:
            multiply(f"{junction.norm}.weight", factor)
