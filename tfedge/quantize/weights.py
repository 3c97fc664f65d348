"""Rounds the weights of dense layers, and tables, to symmetric integers of 4 or 8 bits."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.linalg import lapack

# Candidates for a row's largest value that is not clipped, as a share of its peak, by bits: what many
# steps gain by clipping is little.
_SHARES = {
    4: np.linspace(0.4, 1.0, 61, dtype=np.float32),
    8: np.linspace(0.75, 1.0, 26, dtype=np.float32),
}
# GPTQ: columns whose error is carried on together (the paper's lazy batch updates).
_BLOCK = 128
# Added to the diagonal, as a share of its mean. The paper takes 0.01; a few thousand tokens of
# short calibration texts tell less of the inputs than its hundreds of thousands.
DAMPING = 0.1


@dataclasses.dataclass(frozen=True)
class RoundedRows:
    """A matrix in symmetric integers with one scale a row."""

    integers: np.ndarray  # (rows, columns), int8, -7..7 of 4 bits and -127..127 of 8
    scales: np.ndarray  # (rows,), float32: real units per integer step
    bits: int

    def __post_init__(self) -> None:
        top = largest_integer(self.bits)
        if np.any(np.abs(self.integers) > top):
            raise ValueError(f"integers of {self.bits} bits are -{top} to {top}")
        if self.scales.shape != self.integers.shape[:1]:
            raise ValueError(f"{self.scales.shape} scales for {self.integers.shape} integers")

    @property
    def values(self) -> np.ndarray:
        """The real values that the integers stand for, float32 (rows, columns)."""
        return self.integers * self.scales[:, None]


def largest_integer(bits: int) -> int:
    """The largest integer of symmetric weights of 4 or 8 bits."""
    if bits not in _SHARES:
        raise ValueError(f"weights have 4 or 8 bits, not {bits}")
    return int(2 ** (bits - 1) - 1)


def nearest(weights: np.ndarray, scales: np.ndarray, bits: int) -> np.ndarray:
    """The nearest integers to weights (rows, columns), as floats."""
    top = largest_integer(bits)
    return np.clip(np.rint(weights / scales[:, None]), -top, top)


def least_error_scales(
    weights: np.ndarray, bits: int, importance: np.ndarray | None = None
) -> np.ndarray:
    """The scale of each row with the least squared error of rounding and clipping together.

    Args:
        weights: (rows, columns), float32.
        importance: (columns,), what a squared error in a column counts; 1 by default.

    Returns:
        (rows,), float32.
    """
    top = largest_integer(bits)
    peaks = np.maximum(np.abs(weights).max(axis=1), np.finfo(np.float32).tiny * top)
    scales = (peaks / top).astype(np.float32)
    least = np.full(len(weights), np.inf)
    for share in _SHARES[bits]:
        candidate = (share * peaks / top).astype(np.float32)
        error = (nearest(weights, candidate, bits) * candidate[:, None] - weights) ** 2
        total = error.sum(axis=1) if importance is None else error @ importance
        scales = np.where(total < least, candidate, scales)
        least = np.minimum(total, least)
    return scales


def round_nearest(weights: np.ndarray, bits: int) -> RoundedRows:
    """Rounds to the nearest integers in the steps of `least_error_scales`, of the same arguments."""
    scales = least_error_scales(weights, bits)
    return RoundedRows(nearest(weights, scales, bits).astype(np.int8), scales, bits)


def gptq(weights: np.ndarray, gram: np.ndarray, bits: int) -> RoundedRows:
    """Rounds weights so that the outputs on the calibration texts change least, not the weights.

    GPTQ (Frantar et al. 2023, arXiv:2210.17323, algorithm 1): columns are rounded one after another,
    and what rounding one does to the outputs is made up for by the columns not yet rounded, as the
    layer's inputs say. What is 0 stays 0, so that a pruned layer stays pruned.

    Args:
        weights: (outputs, inputs), float32.
        gram: sum of x x^T over the layer's inputs x on calibration texts, (inputs, inputs).
    """
    gram = np.asarray(gram, np.float64)
    energy = np.diag(gram)
    mean = energy.mean()
    if mean == 0:  # inputs that are always 0 tell nothing
        gram, energy, mean = np.eye(len(gram)), np.ones(len(gram)), 1.0
    scales = least_error_scales(weights, bits, energy)
    # The columns that matter most come first, while there are others to make up for them.
    order = np.argsort(-energy, kind="stable")
    damped = gram[np.ix_(order, order)] + DAMPING * mean * np.eye(len(gram))
    integers = np.empty(weights.shape, np.int8)
    integers[:, order] = _round_columns(weights[:, order], _upper_factor(damped), scales, bits)
    return RoundedRows(integers, scales, bits)


def _upper_factor(gram: np.ndarray) -> np.ndarray:
    """The upper triangular U with U^T U the inverse of a positive definite matrix.

    That is R^-1 where R R^T is the matrix and R upper triangular, which takes a quarter of the time
    that its inverse would.
    """
    reversed_lower = np.linalg.cholesky(gram[::-1, ::-1])
    inverse, _ = lapack.dtrtri(reversed_lower[::-1, ::-1])
    return np.asarray(inverse)


def _round_columns(
    weights: np.ndarray, upper: np.ndarray, scales: np.ndarray, bits: int
) -> np.ndarray:
    """The integers (rows, columns) of weights whose columns come in the order of rounding."""
    # One column after another is read and written: as rows each lies in one piece.
    left = np.ascontiguousarray(weights.T, np.float32)
    pruned, upper, top = left == 0, upper.astype(np.float32), largest_integer(bits)
    integers = np.empty(left.shape, np.int8)
    count = len(left)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        errors = np.empty((stop - start, left.shape[1]), np.float32)
        for column in range(start, stop):
            chosen = np.clip(np.rint(left[column] / scales), -top, top)
            chosen[pruned[column]] = 0
            integers[column] = chosen
            error = (left[column] - chosen * scales) / upper[column, column]
            left[column + 1 : stop] -= np.outer(upper[column, column + 1 : stop], error)
            errors[column - start] = error
        left[stop:] -= upper[start:stop, stop:].T @ errors
    return integers.T
