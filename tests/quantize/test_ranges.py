"""Ranges by squared error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge.quantize.ranges import Histogram, Range, mse_range, weight_range


def _error(values: np.ndarray, chosen: Range) -> float:
    steps = np.rint((np.clip(values, chosen.min, chosen.max) - chosen.min) / chosen.scale)
    return float(np.mean((steps * chosen.scale + chosen.min - values) ** 2))


def _chosen(values: np.ndarray) -> Range:
    histogram = Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    return mse_range(histogram)


def test_one_outlier_among_many_is_clipped() -> None:
    values = np.append(np.random.default_rng(0).normal(size=100_000), 60.0)
    chosen = _chosen(values)
    assert chosen.max < 60
    assert _error(values, chosen) < 0.95 * _error(values, Range(float(values.min()), 60.0))


def test_an_even_spread_is_not_clipped() -> None:
    chosen = _chosen(np.linspace(-1, 2, 10_001))
    assert chosen.min == pytest.approx(-1, abs=0.02)
    assert chosen.max == pytest.approx(2, abs=0.04)


def test_what_a_function_makes_nothing_of_is_clipped() -> None:
    """A GELU's input: of the many negative values nothing is left, the few large ones stay."""
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(-4, 2, 100_000), random.uniform(6, 9, 20)])
    histogram = Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    plain, aware = mse_range(histogram), mse_range(histogram, _gelu)
    assert plain.min < -8
    assert -4 < aware.min < -2
    assert aware.max > 8

    def error(chosen: Range) -> float:
        steps = np.rint((np.clip(values, chosen.min, chosen.max) - chosen.min) / chosen.scale)
        return float(np.mean((_gelu(steps * chosen.scale + chosen.min) - _gelu(values)) ** 2))

    assert error(aware) < 0.2 * error(plain)


def _gelu(x: np.ndarray) -> np.ndarray:
    """The tanh approximation (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2)."""
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def test_clipping_that_weighs_more_widens_the_range() -> None:
    values = np.random.default_rng(0).normal(size=1_000_000)
    histogram = Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    widths = [
        (chosen := mse_range(histogram, clipping_weight=weight)).max - chosen.min
        for weight in (1.0, 4.0, 100.0, 1e9)
    ]
    assert widths[0] < widths[1] < widths[2] < widths[3]
    assert widths[3] > 0.95 * (values.max() - values.min())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=200))
def test_every_range_holds_zero_and_is_no_wider_than_the_data(numbers: list[float]) -> None:
    values = np.array(numbers)
    chosen = _chosen(values)
    assert chosen.min <= 0 <= chosen.max
    assert chosen.min >= min(values.min(), 0.0) - 1e-6
    assert chosen.max <= max(values.max(), 0.0) + 1e-5


def test_a_range_without_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="include 0"):
        Range(0.5, 1.0)


@settings(max_examples=30, deadline=None)
@given(
    low=st.floats(-50, 0), high=st.floats(0, 50), seed=st.integers(0, 99), shape=st.floats(0.2, 3)
)
def test_no_pair_of_the_tried_bounds_is_better(
    low: float, high: float, seed: int, shape: float
) -> None:
    """Against every pair, each one's error computed value by value."""
    random = np.random.default_rng(seed)
    tails = random.gamma(shape, size=(2, 500)) / 8
    values = np.clip(np.concatenate([low * tails[0], high * tails[1]]), low, high)
    values = np.append(values, [low, high + 1e-3])
    histogram = Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    chosen = mse_range(histogram)

    def expected_error(minimum: float, maximum: float) -> float:
        clipped = np.clip(values, minimum, maximum) - values
        return float(np.mean(clipped**2) + ((maximum - minimum) / 255) ** 2 / 12)

    bounds = np.linspace(0, 1, 64, endpoint=False)
    lows = values.min() * (1 - bounds) if low < 0 else [0.0]
    highs = values.max() * (1 - bounds)
    best = min(expected_error(a, b) for a in lows for b in highs)
    # The histogram's bins are all that the choice knows of the values.
    bin_error = (histogram.edges[1] - histogram.edges[0]) ** 2
    assert expected_error(chosen.min, chosen.max) <= 1.02 * best + bin_error


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=300).filter(np.any))
def test_expected_error_is_never_above_that_of_the_extremes(numbers: list[float]) -> None:
    """Of the histogram, which is all that the choice knows of the values."""
    values = np.array(numbers)
    histogram = Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    centres = (histogram.edges[:-1] + histogram.edges[1:]) / 2

    def expected_error(chosen: Range) -> float:
        clipped = (np.clip(centres, chosen.min, chosen.max) - centres) ** 2
        return float(np.average(clipped, weights=histogram.counts) + chosen.scale**2 / 12)

    extremes = Range(float(histogram.edges[0]), float(histogram.edges[-1]))
    assert expected_error(mse_range(histogram)) <= expected_error(extremes) * (1 + 1e-9)


@pytest.mark.parametrize("size", [1, 1000])
def test_all_zero_tensor_has_a_narrow_range(size: int) -> None:
    chosen = _chosen(np.zeros(size))
    assert 0 < chosen.max - chosen.min < 1e-5
    assert chosen.scale > 0


def test_one_sided_tensors_keep_zero_at_the_edge() -> None:
    values = np.random.default_rng(0).uniform(1, 6, 10_000)
    above, below = _chosen(values), _chosen(-values)
    assert above.min == 0
    assert below.max == 0
    assert above.max == pytest.approx(6, abs=0.1)
    assert below.min == pytest.approx(-above.max)


def test_tensor_of_one_value() -> None:
    assert _chosen(np.full(9, -3.0)) == Range(-3.0, 0.0)


def test_histogram_counts_every_value_of_every_batch() -> None:
    histogram = Histogram(-1.0, 3.0)
    histogram.add(np.array([[-1.0, 0.0], [1.5, 3.0]]))
    histogram.add(np.linspace(-1, 3, 100))
    assert histogram.counts.sum() == 104
    assert (histogram.edges[0], histogram.edges[-1]) == (-1.0, 3.0)
    assert histogram.counts[-1] >= 2  # the maximum itself belongs to the last bin


def test_weights_of_any_shape() -> None:
    weights = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    assert weight_range(weights) == weight_range(weights.ravel())
    assert weight_range(weights).max <= weights.max()


def test_scale_is_a_255th() -> None:
    assert Range(-1.0, 1.55).scale == pytest.approx(0.01)


def test_a_range_of_what_is_larger_has_the_same_integers() -> None:
    found = Range(-1.0, 3.0).times(1.702)
    assert (found.min, found.max) == (-1.702, pytest.approx(5.106))
    assert found.scale == pytest.approx(1.702 * Range(-1.0, 3.0).scale)
