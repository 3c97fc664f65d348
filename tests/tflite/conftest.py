"""Calibration texts of toy models."""

from __future__ import annotations

import numpy as np
import pytest
import toy_folders


@pytest.fixture(scope="session")
def sequences() -> list[np.ndarray]:
    """Token ids of 16 texts of 4 to 16 tokens."""
    random = np.random.RandomState(0)
    words = toy_folders.config()["vocab_size"]
    return [
        random.randint(5, words, length).astype(np.int32) for length in random.randint(4, 17, 16)
    ]
