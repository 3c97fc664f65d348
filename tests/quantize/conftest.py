"""Toy encoders with the trouble of real ones: a few channels far larger than the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import toy_folders
from safetensors.numpy import load_file, save_file

from tfedge.models.checkpoint import Checkpoint

OUTLIERS = (3, 11)
MakeCheckpoint = Callable[..., Checkpoint]


@pytest.fixture(scope="session")
def outlier_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Makes a checkpoint whose residual streams have outlier channels, as BERT's have."""

    def make(architecture: str, task: str = "text-classification", **changes: Any) -> Checkpoint:
        folder = tmp_path_factory.mktemp(architecture)
        toy_folders.write_folder(folder, architecture, task, **changes)
        tensors = load_file(folder / "model.safetensors")
        for name, value in tensors.items():
            is_norm = "norm" in name.lower() and name.endswith(".weight")
            # Where a layer writes its residual stream: the biases are what makes outliers of BERT.
            is_output = name.endswith(("output.dense.bias", "out_lin.bias", "lin2.bias"))
            for channel in OUTLIERS:
                if is_norm:
                    value[channel] *= 5
                if is_output:
                    value[channel] += 20
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return Checkpoint(folder)

    return make


@pytest.fixture(scope="session")
def sequences() -> list[np.ndarray]:
    """Token ids of 24 texts of 4 to 16 tokens."""
    random = np.random.RandomState(0)
    words = toy_folders.config()["vocab_size"]
    lengths = random.randint(4, 17, 24)
    return [random.randint(5, words, length).astype(np.int32) for length in lengths]
