"""Ranges by squared error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge.quantize.ranges import Histogram, Range, mse_range


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
