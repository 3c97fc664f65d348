"""Which Python `make` sets up a host with, and what it says where there is none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def make(
    folder: Path, *arguments: str, dry: bool = True, **works: bool
) -> subprocess.CompletedProcess[str]:
    """What makes an environment in `folder`, where the Pythons in `works` are found first on PATH.

    Args:
        works: whether `python311`, for 3.11, can make an environment; a version manager's shim cannot.
    """
    for name in ("python311", "python312", "python313"):
        script = folder / f"{name[:-2]}.{name[-2:]}"
        script.write_text(f"#!/bin/sh\nexit {0 if works.get(name) else 127}\n")
        script.chmod(0o700)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    environment.pop("PYTHON", None)
    venv = folder / "venv"
    command = ["make", *(["-n"] if dry else []), f"VENV={venv}", *arguments, f"{venv}/bin/python"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("working", "chosen"),
    [
        (
            ("python311", "python312", "python313"),
            "python3.11",
        ),  # models are tried in both runtimes
        (("python312", "python313"), "python3.13"),
        (("python312",), "python3.12"),
    ],
)
def test_first_python_that_can_make_an_environment(
    tmp_path: Path, working: tuple[str, ...], chosen: str
) -> None:
    done = make(tmp_path, **dict.fromkeys(working, True))
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / chosen} -m venv" in done.stdout


@pytest.mark.parametrize("python", ["python3.13", "no-python"])
def test_python_that_cannot_convert(tmp_path: Path, python: str) -> None:
    """One that says that it is too old or too new, and one that is not there."""
    done = make(tmp_path, f"PYTHON={tmp_path / python}", dry=False)
    assert done.returncode == 2
    assert "make: tfedge converts on Python 3.11 to 3.13" in done.stderr
    assert "set PYTHON=/path/to/python3.13" in done.stderr
    assert not (tmp_path / "venv").exists()


def told(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What make would run."""
    environment = {name: value for name, value in os.environ.items() if name != "EVAL"}
    command = ["make", "-n", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("MODEL=my model", "MODEL=my model has blanks, which make cannot pass on"),
        ("OUTPUT=my models", "OUTPUT=my models has blanks"),
        ("EVAL=my dev.tsv", "EVAL=my dev.tsv has blanks"),
        ("MODEL=", "MODEL= is empty: give a name of `make models`"),
        ("MODEL= ", "MODEL= is empty"),
    ],
)
def test_names_with_blanks_are_refused_in_words(given: str, said: str) -> None:
    done = told("convert", given)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("goal", ["eval", "bench", "report"])
def test_measures_on_what_ships_by_default(goal: str) -> None:
    assert "--data tfedge/data/sentences.tsv" in told(goal).stdout
    assert "--data dev.tsv" in told(goal, "EVAL=dev.tsv").stdout


def test_training_is_measured_on_other_texts_by_default() -> None:
    assert "--eval stanfordnlp/sst2:validation" in told("distill").stdout
    assert "--eval dev.tsv" in told("distill", "EVAL=dev.tsv").stdout


def test_peers_are_counted_beside_all_modes(tmp_path: Path) -> None:
    """What is missing is converted with the given options, and one command counts it all."""
    options = ("MODEL=./some-encoder", f"OUTPUT={tmp_path}", "CONVERT_ARGS=--calibration texts.tsv")
    said = told("bench-arm", "PEERS=1", *options).stdout.replace("\\\n", " ")
    modes = ("int8", "dynamic", "float32")
    files = [f"{tmp_path}/some-encoder/some-encoder_{mode}.tflite" for mode in modes]
    assert f"count.py {' '.join(files)} " in said
    for mode in modes:
        (made,) = (line for line in said.splitlines() if f"./some-encoder --quant {mode} " in line)
        assert made.endswith("--calibration texts.tsv")
