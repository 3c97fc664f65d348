"""The integer graph with the converter's rounding of constants in it, to be trained.

Gradients pass the rounding as if it were not there (the straight-through estimator, Bengio et al.
2013, arXiv:1308.3432); those of the activations, `FakeQuant`, stop where a tensor is clipped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf
import tf_keras as keras

from tfedge.quantize import edgetpu_layers, layers
from tfedge.quantize.integer import IntegerBlocks

_WEIGHT_LEVELS = 127  # -127..127: TFLite's weights are symmetric and leave -128 out
_CONSTANT_LEVELS = 255
# Where rounding makes a variance 0, its inverse root is clipped, but an infinite slope times the
# clipping's 0 would be no number.
_LEAST_VARIANCE = 1e-12
_Layer = TypeVar("_Layer", bound=keras.layers.Layer)


def rounded_weights(weights: tf.Tensor) -> tf.Tensor:
    """Weights (inputs, outputs), or (inputs,) of a single output, float32, as the kernels of
    convolutions hold them: one scale an output channel, -127..127."""
    peak = tf.reduce_max(tf.abs(weights), axis=0, keepdims=True)
    return _round(weights, peak / _WEIGHT_LEVELS)


def rounded_constant(constant: tf.Tensor) -> tf.Tensor:
    """A positive vector (C,) as the converter keeps what a tensor is multiplied by: 256 values."""
    return _round(constant, tf.reduce_max(constant) / _CONSTANT_LEVELS)


def _round(x: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    steps = tf.round(tf.math.divide_no_nan(x, scale))
    return x + tf.stop_gradient(steps * scale - x)


def _rounding(layer: type[_Layer], rule: Callable[[tf.Tensor], tf.Tensor]) -> type[_Layer]:
    """A layer whose `constant` comes rounded."""

    def constant(self: Any) -> tf.Tensor:
        return rule(layer.constant(self))

    return type(f"Rounded{layer.__name__}", (layer,), {"constant": constant})


def safe_rsqrt(x: tf.Tensor) -> tf.Tensor:
    """1 / sqrt(x) with a finite slope at 0."""
    return tf.math.rsqrt(tf.maximum(x, _LEAST_VARIANCE))


class _Rounded:
    """Layers that round their constants; what has one scale a channel is exact as it is."""

    pointwise_dense = _rounding(layers.PointwiseDense, rounded_weights)
    patch_layer = _rounding(layers.PointwisePatches, rounded_weights)
    trigram_layer = _rounding(layers.TrigramDense, rounded_weights)
    channel_scale = _rounding(layers.ChannelScale, rounded_constant)
    channel_mean = _rounding(layers.ChannelMean, rounded_weights)
    even_scale = _rounding(edgetpu_layers.EvenScale, rounded_constant)
    even_variance = _rounding(edgetpu_layers.EvenVariance, rounded_weights)
    rsqrt = staticmethod(safe_rsqrt)


def with_rounding(blocks: type[IntegerBlocks]) -> type[IntegerBlocks]:
    """The same blocks, which round their constants."""
    return type(f"Rounded{blocks.__name__}", (_Rounded, blocks), {})


def keep_constants(model: keras.Model) -> None:
    """Rounds the constants of a model once, for whoever runs it often and changes no weights that
    these are made of: rounding those of a large encoder takes longer than running it on a text."""
    for layer in model.layers:
        if hasattr(layer, "constant"):
            layer.constant = functools.partial(tf.identity, layer.constant())
