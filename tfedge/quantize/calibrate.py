"""Runs a float model over calibration texts and chooses the range of every activation."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.data.batches import batches_of_equals
from tfedge.models.build import Encoder
from tfedge.models.layers import Gelu
from tfedge.quantize.integer import NormPlan
from tfedge.quantize.ranges import Histogram, Range, mse_range, weight_range

# Fixed by TFLite's kernels, whatever the data: softmax gives scale 1/256, tanh 1/128.
SOFTMAX_RANGE = Range(0.0, 255 / 256)
TANH_RANGE = Range(-1.0, 127 / 128)
# A score this far below the largest of its row has a probability of e^-10, which rounds to 0 in
# steps of 1/256, and a hundred of them together lose less than one step.
MASK_DEPTH = 10.0

# The same for half the scores, whose power is squared, in steps of 1/256 of the largest: e^-6.5 of
# the sigmoid rounds to 0.
HALF_MASK_DEPTH = 6.5
UNIT_RANGE = Range(-1.0, 127 / 128)  # fixed by TFLite's L2_NORMALIZATION
# Of the steps of a softmax that is computed by sigmoids, see `tfedge.quantize.edgetpu`.
_STEPS = {
    ".flags": Range(0.0, 1.0),
    ".sigmoid": SOFTMAX_RANGE,  # fixed by TFLite's LOGISTIC
    ".depth": Range(-HALF_MASK_DEPTH, 0.0),
    ".rest": SOFTMAX_RANGE,
    ".rest_rsqrt": Range(0.0, 2**0.5),
    ".rest_inverse": Range(0.0, 2.0),
    ".power": Range(0.0, 1.0),
    ".unit": UNIT_RANGE,
    ".shares": Range(0.0, 1.0),
}

# A red, green or blue is a whole number, so that a step of 1 loses nothing.
PIXEL_RANGE = Range(0.0, 255.0)

# What a range clips is missing in all later layers where norms stand before attention and feed-forward
# network, as nothing divides the residual stream, and errs to one side, while rounding evens out.
# Chosen on DINOv2 (docs/vision.md), where 1, 4 and 16 leave the logits 7.8, 9.4 and 8.9 dB above the
# error. Behind norms it makes no difference: tinybert has 26.8, 27.0 and 26.7 dB.
PRE_NORM_CLIPPING_WEIGHT = 4.0

# Products of all pairs of tokens are so many that a share of them shows their histogram.
_THINNED = 31

_EMBEDDINGS = ("word_embeddings", "token_type_embeddings", "position_embeddings")


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What calibration decided.

    Attributes:
        ranges: of each tapped tensor, by name.
        mask_value: what is to be added to the scores of padding.
    """

    ranges: dict[str, Range]
    mask_value: float


class Observer:
    """Runs texts or images through a float model and gives out every tapped tensor.

    Args:
        encoder: what to run; built with `sequence_length=None` and with its weights.
        samples: token ids of the calibration texts, int32 (n,) each, or pixels of images, uint8
            (height, width, 3) each. Texts are run without padding, so what padding computes has no
            say.
        progress: called with a number of samples whenever as many have run.
    """

    def __init__(
        self,
        encoder: Encoder,
        samples: Sequence[np.ndarray],
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.model = encoder.model
        self.roles = encoder.roles
        self.aliases = encoder.aliases
        names = tuple(self.model.input_names)
        self._batches = [batch for _, batch in batches_of_equals(samples, names)]
        self._run = tf.function(
            keras.Model(encoder.model.inputs, encoder.tapped),
            reduce_retracing=True,
            autograph=False,
        )
        self._progress = progress

    def tensors(self) -> Iterator[dict[str, np.ndarray]]:
        """The tapped tensors by name, batch after batch."""
        for batch in self._batches:
            yield {name: value.numpy() for name, value in self._run(batch).items()}
            self._progress(len(next(iter(batch.values()))))


def calibrate(
    observer: Observer, plans: Mapping[str, NormPlan], pre_norm: bool = False
) -> Calibration:
    """Chooses a range for each tapped tensor, in two passes over the texts.

    Args:
        observer: runs a graph of `IntegerBlocks` with these plans.
        pre_norm: whether norms stand before attention and feed-forward network.
    """
    bounds = _bounds(observer.tensors())
    fixed = _fixed_ranges(observer.model, bounds)
    histograms = {
        name: Histogram(bound.low, bound.high)
        for name, bound in bounds.items()
        if name not in fixed
    }
    for tensors in observer.tensors():
        for name, histogram in histograms.items():
            value = tensors[name]
            histogram.add(value.ravel()[::_THINNED] if _is_product(name) else value)

    def choose(name: str, histogram: Histogram) -> Range:
        if not pre_norm:
            return mse_range(histogram)
        return mse_range(histogram, _gelu(observer.model, name), PRE_NORM_CLIPPING_WEIGHT)

    ranges = {name: choose(name, histogram) for name, histogram in histograms.items()} | fixed
    for name, plan in plans.items():
        ranges |= plan.ranges(name) | _weighted_ranges(name, plan, bounds)
    for name, role in observer.roles.items():
        if role in ("key", "value"):
            ranges[name] = ranges[name].symmetric()
    mask_value = -max(range_.max - range_.min for name, range_ in ranges.items() if _is_score(name))
    ranges["attention_bias"] = Range(mask_value, 0.0)
    chosen = {name: ranges[name] for name in bounds}
    chosen |= {name: ranges[source] for name, source in observer.aliases.items()}
    return Calibration(chosen, mask_value)


def _gelu(model: keras.Model, name: str) -> Callable[[np.ndarray], np.ndarray] | None:
    """The GELU that reads the output of layer `name`, or None.

    It makes nothing of values below -3, most of what it reads in a ViT; and a few large ones that it
    lets through decide what later layers attend to (massive activations, Sun et al. 2024,
    arXiv:2402.17762, section 5).
    """
    layer = next((layer for layer in model.layers if layer.name == f"{name}.act"), None)
    if not isinstance(layer, Gelu):
        return None
    return lambda values: layer(tf.constant(values, tf.float32)).numpy().astype(np.float64)


@dataclasses.dataclass
class _Bounds:
    """Extremes of one tensor; `row_maximum` is the least maximum of any row of its last axis."""

    low: float = np.inf
    high: float = -np.inf
    row_maximum: float = np.inf


def _bounds(outputs: Iterable[dict[str, np.ndarray]]) -> dict[str, _Bounds]:
    bounds: dict[str, _Bounds] = defaultdict(_Bounds)
    for tensors in outputs:
        for name, value in tensors.items():
            bound = bounds[name]
            bound.low = min(bound.low, float(value.min()))
            bound.high = max(bound.high, float(value.max()))
            bound.row_maximum = min(bound.row_maximum, float(value.max(axis=-1).min()))
    return bounds


def _weighted_ranges(name: str, plan: NormPlan, bounds: Mapping[str, _Bounds]) -> dict[str, Range]:
    """Ranges of what is squared for each of a plan's variances."""
    ranges: dict[str, Range] = {}
    for index, limit in enumerate(plan.limits):
        bound = bounds[f"{name}.{index}.weighted"]
        # One channel alone may make up a variance at the limit; where none does, the range is less.
        peak = min((limit / plan.unit(index)) ** 0.5, max(-bound.low, bound.high))
        ranges[f"{name}.{index}.weighted"] = Range(-peak, peak).symmetric()
        ranges[f"{name}.{index}.weighted_squares"] = Range(0.0, peak**2)
    return ranges


def _is_product(name: str) -> bool:
    return name.endswith(".products")


_HALF_SCORES = (".half_scores", ".masked_half_scores")


def _is_score(name: str) -> bool:
    return name.endswith((".scores", ".masked_scores", *_HALF_SCORES))


def _fixed_ranges(model: keras.Model, bounds: dict[str, _Bounds]) -> dict[str, Range]:
    """Ranges that follow from a kernel, a table or the mask rather than from a histogram."""
    fixed: dict[str, Range] = {}
    for name, bound in bounds.items():
        if name.endswith(".probabilities"):
            fixed[name] = SOFTMAX_RANGE
        elif name == "pixel_values":
            fixed[name] = PIXEL_RANGE
        elif name == "pooler.act":
            fixed[name] = TANH_RANGE
        elif name == "pooling.weights":
            # [CLS], [SEP] and a word.
            fixed[name] = Range(0.0, 1 / 3)
        elif name.endswith(_EMBEDDINGS):
            # A table holds rows that no calibration text looks up.
            fixed[name] = weight_range(model.get_layer(name).get_weights()[0])
        elif _is_score(name):
            # The lowest value also stands for masked, so it must vanish beside any row's maximum;
            # what lies deeper than that is nothing to the softmax and may be clipped.
            depth = HALF_MASK_DEPTH if name.endswith(_HALF_SCORES) else MASK_DEPTH
            fixed[name] = Range(min(bound.row_maximum - depth, 0.0), max(bound.high, 0.0))
        elif name.endswith((".even", ".squares")):
            # What is clipped would be missing from a variance; rounding evens out.
            fixed[name] = Range(min(bound.low, 0.0), max(bound.high, 0.0, 1e-6))
        else:
            for suffix, chosen in _STEPS.items():
                if name.endswith(suffix):
                    fixed[name] = chosen
    return fixed
