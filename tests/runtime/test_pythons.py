"""The wheel, installed by pip in every Python that a board may have, answers as it does here.

Which runtime comes with it depends on the Python: tflite-runtime has wheels up to 3.11, LiteRT from
3.10 on. Pythons that are not on PATH are skipped; pip fetches from PyPI.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tfedge.data.texts import read_texts
from tfedge.measure.board import Board

pytestmark = pytest.mark.pythons

ROOT = Path(__file__).parents[2]
SENTENCES = ROOT / "tfedge/data/sentences.tsv"
MODEL = Path(os.environ.get("TFEDGE_MODEL", ROOT / "saved_models/tinybert/tinybert_int8.tflite"))
SAMPLE = 20
# The Python, what pip is asked for beside the wheel, and the runtime that is to answer then.
BOARDS = [
    ("3.9", (), "tflite-runtime"),
    ("3.10", ("ai-edge-litert",), "litert"),
    ("3.11", (), "tflite-runtime"),  # Raspberry Pi OS bookworm
    ("3.12", (), "litert"),
    ("3.13", (), "litert"),  # Raspberry Pi OS trixie
]


def python_of(version: str) -> Path:
    """The first on PATH that starts: a version manager's shim may be there without its Python."""
    for folder in os.get_exec_path():
        path = Path(folder) / f"python{version}"
        if path.is_file() and not subprocess.run([path, "-c", ""], capture_output=True).returncode:
            return path
    pytest.skip(f"no python{version} on PATH")


def run(*command: str | Path, folder: Path) -> str:
    """What it prints, started where no tfedge lies that Python could import instead."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(("version", "beside", "runtime"), BOARDS)
def test_wheel_answers(
    wheel: Path, tmp_path: Path, version: str, beside: tuple[str, ...], runtime: str
) -> None:
    python = python_of(version)
    texts = read_texts(SENTENCES).head(SAMPLE).texts
    run(python, "-m", "venv", "edge", folder=tmp_path)
    edge = tmp_path / "edge/bin"
    pip = (edge / "python", "-m", "pip", "--quiet", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", wheel, *beside, folder=tmp_path)

    infer = (edge / "tfedge-infer", "--model", MODEL.resolve(), "--runtime", runtime)
    printed = run(*infer, "--json", *texts, folder=tmp_path)
    there = [json.loads(line) for line in printed.splitlines()]
    here = Board(runtime=runtime).answers(MODEL, texts)
    assert [answer["text"] for answer in there] == list(texts)
    assert [answer["label"] for answer in there] == [answer["label"] for answer in here]
    # Another release of the runtime may round a sum otherwise.
    for ours, theirs in zip(here, there, strict=True):
        assert theirs["score"] == pytest.approx(ours["score"], abs=0.05)

    found = json.loads(run(edge / "tfedge-infer", "--doctor", "--json", folder=tmp_path))
    assert found["can_answer"]
    assert found["python"].startswith(f"{version}.")
