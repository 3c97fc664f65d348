"""Logits to probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, float64 so that they add up to 1."""
    import numpy as np

    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    probabilities: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities
