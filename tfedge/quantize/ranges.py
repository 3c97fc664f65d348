"""Chooses the range of an 8-bit tensor from what calibration saw of it."""

from __future__ import annotations

import dataclasses

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

    def symmetric(self) -> Range:
        """The range about this size whose zero point is 0, as int8 kernels want some operands."""
        scale = max(-self.min / 128, self.max / 127)
        return Range(-128 * scale, 127 * scale)


class Histogram:
    """Values of one tensor over all calibration texts, in bins between bounds known beforehand."""

    def __init__(self, minimum: float, maximum: float) -> None:
        # Zero is in every range, so it is in the histogram's; an all-zero tensor gets some width.
        self.edges = np.linspace(min(minimum, 0.0), max(maximum, 0.0, minimum + 1e-6), _BINS + 1)
        self.counts = np.zeros(_BINS)

    def add(self, values: np.ndarray) -> None:
        """Counts all of `values`, of any shape."""
        self.counts += np.histogram(values, self.edges)[0]


def mse_range(histogram: Histogram) -> Range:
    """The range with the least expected squared error, of rounding and of clipping together.

    Rounding costs scale^2 / 12 for each value inside, clipping the squared distance to the bound
    (Banner et al. 2019, arXiv:1810.05723, section 3). All pairs of 64 lower and 64 upper bounds
    are tried.
    """
    counts, edges = histogram.counts, histogram.edges
    centres = (edges[:-1] + edges[1:]) / 2
    lows = (
        np.unique(np.linspace(edges[0], 0.0, 64, endpoint=False)) if edges[0] < 0 else np.zeros(1)
    )
    highs = np.linspace(edges[-1], 0.0, 64, endpoint=False) if edges[-1] > 0 else np.zeros(1)
    below = np.array([np.sum(counts * np.maximum(low - centres, 0) ** 2) for low in lows])
    above = np.array([np.sum(counts * np.maximum(centres - high, 0) ** 2) for high in highs])
    width = highs[None, :] - lows[:, None]
    rounding = counts.sum() * (width / _LEVELS) ** 2 / 12
    cost = below[:, None] + above[None, :] + rounding
    low, high = np.unravel_index(np.argmin(cost), cost.shape)
    return Range(float(lows[low]), float(highs[high]))


def weight_range(weights: np.ndarray) -> Range:
    """The MSE range of constant values, of any shape."""
    histogram = Histogram(float(weights.min()), float(weights.max()))
    histogram.add(weights)
    return mse_range(histogram)
