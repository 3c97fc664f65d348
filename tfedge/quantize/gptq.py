"""Rounds the weights of a dense layer so that its outputs change least, not the weights themselves.

GPTQ (Frantar et al. 2023, arXiv:2210.17323, algorithm 1): columns are rounded one after another,
and what rounding one does to the outputs is made up for by the columns not yet rounded, as the
layer's inputs on calibration texts say.
"""

from __future__ import annotations

import numpy as np

from tfedge.quantize.weights import RoundedRows, least_error_scales, nearest

# Columns whose error is carried on together (the paper's lazy batch updates).
_BLOCK = 128
# Added to the diagonal, as a share of its mean. The paper takes 0.01; a few thousand tokens of
# short calibration texts tell less of the inputs than its hundreds of thousands.
DAMPING = 0.1


def gptq(
    weights: np.ndarray,
    gram: np.ndarray,
    bits: int,
    per_row: bool = True,
    damping: float = DAMPING,
) -> RoundedRows:
    """Rounds weights so that the outputs on the calibration texts change least.

    What is 0 stays 0, so that a pruned layer stays pruned.

    Args:
        weights: (outputs, inputs), float32.
        gram: sum of x x^T over the layer's inputs x on calibration texts, (inputs, inputs).
        per_row: whether each output has a scale of its own, or all have one.
        damping: added to the diagonal of `gram`, as a share of its mean.
    """
    gram = np.asarray(gram, np.float64)
    energy = np.diag(gram)
    mean = energy.mean()
    if mean == 0:  # inputs that are always 0 tell nothing
        gram, energy, mean = np.eye(len(gram)), np.ones(len(gram)), 1.0
    scales = least_error_scales(weights, bits, energy, per_row)
    # The columns that matter most come first, while there are others to make up for them.
    order = np.argsort(-energy, kind="stable")
    damped = gram[np.ix_(order, order)] + damping * mean * np.eye(len(gram))
    integers = np.empty(weights.shape, np.int8)
    integers[:, order] = _round_columns(weights[:, order], _upper_factor(damped), scales, bits)
    return RoundedRows(integers, scales, bits)


def _upper_factor(gram: np.ndarray) -> np.ndarray:
    """The upper triangular U with U^T U the inverse of a positive definite matrix."""
    return np.linalg.cholesky(np.linalg.inv(gram)).T


def _round_columns(
    weights: np.ndarray, upper: np.ndarray, scales: np.ndarray, bits: int
) -> np.ndarray:
    """The integers (rows, columns) of weights whose columns come in the order of rounding."""
    left = weights.astype(np.float64)
    integers = np.empty(weights.shape, np.int8)
    count = weights.shape[1]
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        errors = np.empty((len(weights), stop - start))
        for column in range(start, stop):
            integers[:, column] = nearest(left[:, column : column + 1], scales, bits)[:, 0]
            integers[weights[:, column] == 0, column] = 0
            error = (left[:, column] - integers[:, column] * scales) / upper[column, column]
            left[:, column + 1 : stop] -= np.outer(error, upper[column, column + 1 : stop])
            errors[:, column - start] = error
        left[:, stop:] -= errors @ upper[start:stop, stop:]
    return integers
