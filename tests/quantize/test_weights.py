"""Rounding of weights, and of weights whose inputs are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge.quantize import weights as module
from tfedge.quantize.weights import RoundedRows, gptq, least_error_scales, nearest, round_nearest

BITS = pytest.mark.parametrize("bits", [4, 8])


def _weights(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(3, (rows, columns)).astype(np.float32)


def _correlated_inputs(count: int, channels: int) -> np.ndarray:
    """Vectors that vary along few directions, as the hidden states of an encoder do."""
    random = np.random.default_rng(1)
    mixing = random.normal(size=(channels // 8, channels))
    return random.normal(size=(count, channels // 8)) @ mixing + 0.1 * random.normal(
        size=(count, channels)
    )


def _output_error(rounded: RoundedRows, weights: np.ndarray, inputs: np.ndarray) -> float:
    return float(np.mean((inputs @ (rounded.values - weights).T) ** 2))


@BITS
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), size=st.floats(1e-9, 1e9))
def test_the_error_is_no_larger_than_between_minimum_and_maximum(
    bits: int, seed: int, size: float
) -> None:
    weights = (_weights(3, 50, seed).astype(np.float64) * size).astype(np.float32)
    rounded = round_nearest(weights, bits)
    top = 2 ** (bits - 1) - 1
    peaks = np.abs(weights).max(axis=1)
    plain = nearest(weights, peaks / top, bits) * (peaks / top)[:, None]
    assert rounded.scales.shape == (3,)
    assert np.abs(rounded.integers).max() <= top

    def errors(values: np.ndarray) -> np.ndarray:
        squares = ((values.astype(np.float64) - weights) / size) ** 2
        return squares.sum(axis=1)

    assert np.all(errors(rounded.values) <= errors(plain) * (1 + 1e-5))


def test_scales_of_four_bits_clip_an_outlier() -> None:
    weights = np.append(np.linspace(-1, 1, 500), 3).astype(np.float32)[None]
    assert least_error_scales(weights, 4)[0] < 0.8 * 3 / 7


def test_what_matters_most_is_most_exact() -> None:
    weights = np.append(np.linspace(-1, 1, 500), 3).astype(np.float32)[None]
    importance = np.append(np.zeros(500), 1)
    assert least_error_scales(weights, 4, importance) * 7 == pytest.approx(3, rel=1e-3)


@BITS
def test_rows_of_zeros_stay_zeros(bits: int) -> None:
    weights = np.zeros((2, 8), np.float32)
    for rounded in (round_nearest(weights, bits), gptq(weights, np.eye(8), bits)):
        assert np.all(rounded.values == 0)
        assert np.all(np.isfinite(rounded.scales) & (rounded.scales > 0))


def test_integers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="-7 to 7"):
        RoundedRows(np.full((1, 2), 8, np.int8), np.ones(1, np.float32), 4)
    with pytest.raises(ValueError, match="4 or 8 bits, not 5"):
        round_nearest(np.ones((1, 2), np.float32), 5)
    with pytest.raises(ValueError, match="scales for"):
        RoundedRows(np.ones((3, 2), np.int8), np.ones(2, np.float32), 4)


def test_gptq_halves_the_error_of_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over more columns than one block, on inputs that it has not seen."""
    inputs = _correlated_inputs(6000, 200)
    seen, held_out = inputs[:3000], inputs[3000:]
    weights = _weights(20, 200)
    monkeypatch.setattr(module, "DAMPING", 0.01)
    rounded = gptq(weights, seen.T @ seen, 4)
    plain = round_nearest(weights, 4)
    assert _output_error(rounded, weights, held_out) < 0.5 * _output_error(plain, weights, held_out)


def test_gptq_of_unrelated_inputs_is_rounding_to_the_nearest() -> None:
    """Columns that are uncorrelated cannot make up for each other."""
    weights = _weights(6, 150)
    gram = np.diag(np.random.default_rng(2).uniform(1, 2, 150))
    rounded = gptq(weights, gram, 4)
    assert np.array_equal(rounded.integers, nearest(weights, rounded.scales, 4))


def test_gptq_of_two_columns_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second column takes on what the first one lost: equal inputs, only the sum counts."""
    weights = np.array([[7.0, 0.4, 0.4]], np.float32)
    gram = np.array([[1.0, 0, 0], [0, 1, 1], [0, 1, 1]])
    monkeypatch.setattr(module, "DAMPING", 1e-6)
    rounded = gptq(weights, gram, 4)
    assert rounded.scales[0] == pytest.approx(1, rel=0.05)
    assert rounded.integers[0, 1:].sum() == 1
    assert round_nearest(weights, 4).integers[0, 1:].sum() == 0


def test_gptq_without_any_input_rounds_to_the_nearest() -> None:
    weights = _weights(4, 16)
    rounded = gptq(weights, np.zeros((16, 16)), 4)
    assert np.array_equal(rounded.integers, round_nearest(weights, 4).integers)


def test_gptq_bears_channels_that_are_always_zero() -> None:
    inputs = _correlated_inputs(500, 64)
    inputs[:, ::3] = 0
    rounded = gptq(_weights(8, 64), inputs.T @ inputs, 4)
    assert np.all(np.isfinite(rounded.values))


def test_the_factor_of_the_inverse() -> None:
    rows = np.random.default_rng(0).standard_normal((40, 9))
    gram = rows.T @ rows
    factor = module._upper_factor(gram)
    np.testing.assert_array_equal(np.tril(factor, -1), 0)
    np.testing.assert_allclose(factor.T @ factor, np.linalg.inv(gram), rtol=1e-9)
