"""Fixtures that several test folders use."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from once import Once

ROOT = Path(__file__).parents[1]
# A shell lets what it starts in the background ignore interrupts, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps what tests verify out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_collection_finish() -> None:
    """Spares the collector what TensorFlow is made of: each conversion collects all garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """What is made once for all processes of this run."""
    base = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has a folder in that of the run.
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    root.mkdir(exist_ok=True)
    return Once(root)


@pytest.fixture(scope="session")
def toys(once: Once) -> Path:
    """The folder of the toy models, see toys.py.

    TFEDGE_TOYS names a folder that has them already, for machines without TensorFlow.
    """
    if ready := os.environ.get("TFEDGE_TOYS"):
        return Path(ready)

    def make(folder: Path) -> None:
        made = subprocess.run(
            [sys.executable, str(ROOT / "tests" / "toys.py"), str(folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert made.returncode == 0, made.stderr

    return once.folder("toys", make)


@pytest.fixture(scope="session")
def emulator() -> Path:
    """The program that runs an emulated board's Python, see tests/arm/run.

    TFEDGE_ARM_RUN names another.
    """
    path = Path(os.environ.get("TFEDGE_ARM_RUN") or ROOT / "tests/arm/run")
    started = subprocess.run([str(path), "rpi4", "-c", ""], capture_output=True, text=True)
    if started.returncode:
        pytest.fail(f"no emulated board: {started.stderr.strip()}")
    return path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is copied to a board, built from a copy that has nothing else in it."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(
        ROOT / "tfedge", source / "tfedge", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    made = subprocess.run(
        [*command, str(source / "dist"), str(source)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    (path,) = (source / "dist").glob("tfedge-*.whl")
    return path
