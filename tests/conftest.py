"""Fixtures that several test folders use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the toy models, see toys.py.

    TFEDGE_TOYS names a folder that has them already, for machines without TensorFlow.
    """
    if ready := os.environ.get("TFEDGE_TOYS"):
        return Path(ready)
    folder = tmp_path_factory.mktemp("toys")
    made = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "toys.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return folder
