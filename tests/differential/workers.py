"""Processes that answer for `differential`: transformers of both versions, and tfedge's runtimes.

A checkpoint lies in a folder with `job.json`, where `drawn.Drawn.write` puts it; each process writes
its answers beside it.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from bars import Bars

from tfedge.conversion.convert import convert
from tfedge.conversion.job import ConvertOptions

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# The interpreters that have transformers 5 and 4, see `make parity`.
PYTHONS = {
    "five": ("TFEDGE_TORCH_PYTHON", ".venv-torch"),
    "four": ("TFEDGE_TORCH4_PYTHON", ".venv-torch4"),
}

Process = subprocess.Popen[str]


def check() -> None:
    """Skips where an interpreter is absent."""
    for name in PYTHONS:
        if not Path(_python(name)).is_file():
            pytest.skip(f"no interpreter with torch: {_python(name)} is absent, see make parity")


def _python(name: str) -> str:
    variable, environment = PYTHONS[name]
    return os.environ.get(variable) or str(ROOT / environment / "bin/python")


def start_transformers(
    folders: Sequence[Path], names: Sequence[str] = tuple(PYTHONS)
) -> list[Process]:
    """Starts `transformers_answers.py` in each version, which writes `five.json` and `four.json`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    script = HERE / "transformers_answers.py"
    return [
        _start([_python(name), script, f"{name}.json", *folders], environment) for name in names
    ]


def start_runtimes(folders: Sequence[Path], runtimes: Sequence[str]) -> list[Process]:
    """Starts `asked.py` in each runtime, which writes a file of its name."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, HERE / "asked.py"]
    return [_start([*command, runtime, *folders], environment) for runtime in runtimes]


def _start(command: Sequence[str | Path], environment: dict[str, str]) -> Process:
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait(processes: Sequence[Process]) -> None:
    """Waits for all, each of which must end well."""
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors


def convert_in(folder: Path, options: ConvertOptions) -> Path:
    """Converts a checkpoint to `folder/model.tflite`."""
    convert(str(folder), dataclasses.replace(options, output=folder / "out"), Bars())
    (made,) = (folder / "out").glob("*/*.tflite")
    return made.rename(folder / "model.tflite")
