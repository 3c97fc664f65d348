"""Chooses the range of an 8-bit tensor from what calibration saw of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

_BINS = 2048
_LEVELS = 255  # steps between the 256 values of an 8-bit tensor


@dataclasses.dataclass(frozen=True)
class Range:
    """The real values that the smallest and the largest integer stand for; 0 lies between."""

    min: float
    max: float

    def __post_init__(self) -> None:
        if not self.min <= 0 <= self.max or self.min == self.max:
            raise ValueError(f"a range must include 0 and not be empty, got {self.min}..{self.max}")

    @property
    def scale(self) -> float:
        """Real units per integer step."""
        return (self.max - self.min) / _LEVELS

    def times(self, factor: float) -> Range:
        """The range of the same integers where all values are `factor` times as large."""
        return Range(factor * self.min, factor * self.max)

    def symmetric(self) -> Range:
        """The range about this size whose zero point is 0, as int8 kernels want some operands."""
        scale = max(-self.min / 128, self.max / 127)
        return Range(-128 * scale, 127 * scale)


class Histogram:
    """Values of one tensor over all calibration texts, in bins between bounds known beforehand."""

    def __init__(self, minimum: float, maximum: float) -> None:
        # Zero is in every range, so it is in the histogram's; an all-zero tensor gets some width.
        self.edges = np.linspace(min(minimum, 0.0), max(maximum, 0.0, minimum + 1e-6), _BINS + 1)
        self.centres = (self.edges[:-1] + self.edges[1:]) / 2
        self.counts = np.zeros(_BINS)

    def add(self, values: np.ndarray) -> None:
        """Counts all of `values`, of any shape."""
        # With two ends in place of all edges NumPy need not sort the values: ten times faster.
        self.counts += np.histogram(values, _BINS, (self.edges[0], self.edges[-1]))[0]


def mse_range(
    histogram: Histogram,
    function: Callable[[np.ndarray], np.ndarray] | None = None,
    clipping_weight: float = 1.0,
) -> Range:
    """The range with the least expected squared error, of rounding and of clipping together.

    Rounding costs scale^2 / 12 for each value inside, clipping the squared distance to the bound
    (Banner et al. 2019, arXiv:1810.05723, section 3). All pairs of 64 lower and 64 upper bounds
    are tried.

    Args:
        function: what alone reads the tensor, number by number; the error is that of its result.
        clipping_weight: how many times a squared error of clipping counts beside one of rounding.
    """
    counts, edges, centres = histogram.counts, histogram.edges, histogram.centres
    lows = (
        np.unique(np.linspace(edges[0], 0.0, 64, endpoint=False)) if edges[0] < 0 else np.zeros(1)
    )
    highs = np.linspace(edges[-1], 0.0, 64, endpoint=False) if edges[-1] > 0 else np.zeros(1)
    results, slopes = centres, np.ones_like(centres)
    low_results, high_results = lows, highs
    if function:
        results, low_results, high_results = function(centres), function(lows), function(highs)
        slopes = np.gradient(results, centres)
    below = _clipping(counts, results, centres[None, :] < lows[:, None], low_results)
    above = _clipping(counts, results, centres[None, :] > highs[:, None], high_results)
    width = highs[None, :] - lows[:, None]
    rounding = np.sum(counts * slopes**2) * (width / _LEVELS) ** 2 / 12
    cost = clipping_weight * (below[:, None] + above[None, :]) + rounding
    low, high = np.unravel_index(np.argmin(cost), cost.shape)
    return Range(float(lows[low]), float(highs[high]))


def range_error(
    histogram: Histogram,
    ends: tuple[float, float],
    results: tuple[np.ndarray, np.ndarray] | None = None,
    is_cut: bool = True,
) -> float:
    """The squared error of a range as `mse_range` reckons it, summed over all values.

    Args:
        results: what a function makes of the bins' centres and of both ends, where the error is that
            of its result.
        is_cut: whether what is above the range is lost.
    """
    centres = histogram.centres
    counts = histogram.counts if is_cut else histogram.counts * (centres <= ends[1])
    found, bounds = results or (centres, np.array(ends))
    slopes = np.gradient(found, centres) if results else np.ones_like(centres)
    beyond = np.stack([centres < ends[0], centres > ends[1]])
    inside = counts * ~beyond.any(axis=0)
    rounding = np.sum(inside * slopes**2) * ((ends[1] - ends[0]) / _LEVELS) ** 2 / 12
    return float(_clipping(counts, found, beyond, bounds).sum() + rounding)


def _clipping(
    counts: np.ndarray, results: np.ndarray, clipped: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """The squared error of what each of n bounds clips.

    Args:
        counts, results: of each bin, (bins,).
        clipped: which bins lie beyond a bound, (n, bins).
        bounds: what comes in place of their results, (n,).
    """
    return np.sum(counts * clipped * (results - bounds[:, None]) ** 2, axis=1)


def stepped(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """What 8 bits from `low` to `high` hold of `values`, of any shape."""
    scale = (high - low) / _LEVELS
    return np.rint(np.clip(values, low, high) / scale) * scale


def weight_range(weights: np.ndarray) -> Range:
    """The MSE range of constant values, of any shape."""
    histogram = Histogram(float(weights.min()), float(weights.max()))
    histogram.add(weights)
    return mse_range(histogram)
