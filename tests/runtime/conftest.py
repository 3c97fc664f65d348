"""Fixtures of the board side's tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from program import INSTALLED

from tfedge.runtime import Pipeline, load


@pytest.fixture(scope="session")
def in_process() -> str:
    """The runtime of tests that run one in this process, where other tests may load TensorFlow.

    TensorFlow and tflite-runtime do not work in one process; TensorFlow and LiteRT do.
    """
    usable = [name for name in INSTALLED if name == "litert" or "tensorflow" not in sys.modules]
    if not usable:
        pytest.skip("no runtime that works in a process with TensorFlow is installed")
    return usable[0]


@pytest.fixture(scope="session")
def load_toy(toys: Path, in_process: str) -> Callable[[str], Pipeline]:
    """Loads a toy by name, once a session."""
    loaded: dict[str, Pipeline] = {}

    def get(name: str) -> Pipeline:
        if name not in loaded:
            loaded[name] = load(toys / f"{name}.tflite", in_process, num_threads=1)
        return loaded[name]

    return get
