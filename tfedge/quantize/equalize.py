"""Evens out the channels of the residual stream, without changing what the model computes.

A few channels of a BERT's residual sums are tens of times larger than the rest, so one 8-bit scale
for the tensor leaves the others no resolution. Each stream x is carried as x / t instead, with one
factor a channel: t goes into the gains, biases and weights on either side, and a layer norm, which
is not linear, multiplies by t inside. The same idea as SmoothQuant (Xiao et al. 2023,
arXiv:2211.10438, equation 4) and Outlier Suppression+ (Wei et al. 2023, arXiv:2304.09145), along
the residual connections too.

Where norms stand before attention and feed-forward network (ViT), nothing divides the residual stream:
one vector serves all layers. What such a norm puts out is a stream of its own, whose factors cost
nothing (RepQ-ViT, Li et al. 2023, arXiv:2212.08254, section 3.2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import tf_keras as keras

from tfedge.architectures.streams import Stream
from tfedge.models.checkpoint import parameters
from tfedge.models.layers import LayerNorm
from tfedge.quantize import layers
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.edgetpu_layers import EvenScale, NormConstant

# How much of a channel's excess moves from the activations into the weights (SmoothQuant's
# migration strength); 1 would make all channels equal and the weights as uneven as those were.
STRENGTH = 0.65
_PRUNED = 0.02  # share of zeros

# Variables of a layer that its outputs are in proportion to.
_OUTPUT_PARTS = ("weight", "bias", "cls_token", "distillation_token", "position_embeddings")

Factors = Mapping[str, np.ndarray]


def centre(model: keras.Model, streams: Collection[Stream]) -> None:
    """Takes out of all that is added up before a layer norm what the layer norm takes out anyway.

    Layer norm subtracts each token's mean over the channels, so every table row and every output of
    a dense layer may have mean 0. What is left is the mean of a norm's output in the sum, and of
    weights that were pruned, which would not stay zero.

    Args:
        model: one with layer norms; its weights are changed, its outputs are not.
    """
    weights = {parameter.name: parameter.variable for parameter in parameters(model)}
    # Also those that end no stream, as MobileBERT's at the mouth of a bottleneck.
    norms = {layer.name for layer in model.layers if isinstance(layer, LayerNorm)}
    for name in {name for stream in streams if stream.norms for name in stream.writers} - norms:
        for part in _OUTPUT_PARTS:
            variable = weights.get(f"{name}.{part}")
            if variable is not None and not is_pruned(value := variable.numpy()):
                variable.assign(value - value.mean(axis=-1, keepdims=True))


def is_pruned(value: np.ndarray) -> bool:
    """Whether more of a matrix is exactly zero than chance or a few empty rows of a table make."""
    return value.ndim > 1 and np.mean(value == 0) > _PRUNED


def channel_factors(
    observer: Observer, streams: Collection[Stream], strength: float = STRENGTH
) -> dict[str, np.ndarray]:
    """The factors t (C,) by which each stream comes divided, by its name.

    Args:
        observer: runs the model that is to be equalised.
    """
    tensors_of = {stream.name: (*stream.writers, *stream.totals) for stream in streams}
    peaks: dict[str, np.ndarray] = {}
    for tensors in observer.tensors():
        for name in {name for names in tensors_of.values() for name in names}:
            peak = np.abs(tensors[name]).max(axis=tuple(range(tensors[name].ndim - 1)))
            peaks[name] = np.maximum(peaks.get(name, 0.0), peak)
    return {
        stream: np.max([_relative(peaks[name]) for name in names], axis=0) ** strength
        for stream, names in tensors_of.items()
    }


def _relative(peak: np.ndarray) -> np.ndarray:
    """Each channel's peak in units of their geometric mean; ones for a tensor that is all zero."""
    safe = np.maximum(peak, max(1e-6 * peak.max(), np.finfo(np.float32).tiny))
    return safe / np.exp(np.log(safe).mean())


def equalize(model: keras.Model, streams: Collection[Stream], factors: Factors) -> None:
    """Folds the factors of `channel_factors` into the weights of `model`.

    The inverses of the factors take them out again, of a plain graph too.

    Args:
        model: built of `tfedge.quantize.integer.IntegerBlocks`; its weights are changed.
    """
    weights = {parameter.name: parameter.variable for parameter in parameters(model)}

    def multiply(name: str, factor: np.ndarray) -> None:
        # Keras keeps kernels as (in, out): factors of outputs broadcast, of inputs need an axis.
        if name in weights:
            weights[name].assign(weights[name].numpy() * factor)

    read_by_norms: dict[str, np.ndarray] = {}
    for stream in streams:
        factor = factors[stream.name]
        for writer in stream.writers:
            for part in _OUTPUT_PARTS:
                multiply(f"{writer}.{part}", 1 / factor)
        for reader in stream.readers:
            multiply(f"{reader}.weight", factor[:, None])
        for norm in stream.norms:
            multiply(f"{norm}.weight", factor)
            read_by_norms[norm] = factor
    _set_norm_constants(model, read_by_norms)


def _set_norm_constants(model: keras.Model, factors: Factors) -> None:
    """What the inner layers of layer norms multiply by, see `IntegerBlocks.norm`.

    Args:
        factors: by which what a norm reads comes divided, by the name of the norm.
    """
    for layer in model.layers:
        name = layer.name.rpartition(".")[0]
        if isinstance(layer, layers.EqualizedLayerNorm) and layer.name in factors:
            layer.scale.assign(factors[layer.name])
        elif isinstance(layer, NormConstant):
            # Pieces of a variance are numbered: norm.0.usual.
            norm = name if isinstance(layer, EvenScale) else name.rpartition(".")[0]
            layer.set_factors(factors.get(norm, np.ones(layer.channels)), STRENGTH)
        elif isinstance(layer, layers.ChannelScale):
            name = name.rpartition(".")[0]
            channels = layer.scale.shape[0]
            layer.scale.assign(factors.get(name, np.ones(channels)) / np.sqrt(channels))
        elif isinstance(layer, layers.ChannelMean):
            channels = layer.weights_.shape[0]
            layer.weights_.assign(factors.get(name, np.ones(channels)) / channels)
        elif isinstance(layer, layers.Spread):
            layer.weights_.assign(-1 / factors.get(name, np.ones(layer.weights_.shape)))
