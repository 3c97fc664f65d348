"""The shipped model on emulated 64-bit ARM boards gives the labels that it gives on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfedge.data.texts import Texts, read_texts
from tfedge.measure.accuracy import disagreement
from tfedge.measure.board import Board
from tfedge.runtime.bundle import read_bundle

pytestmark = pytest.mark.arm

ROOT = Path(__file__).parents[1]
SENTENCES = ROOT.parent / "shared/data/sst2/dev.tsv"
MODEL = Path(os.environ.get("TFEDGE_MODEL", ROOT / "saved_models/tinybert/tinybert_int8.tflite"))
BOARDS = ("rpi4", "rpi5", pytest.param("jetson-nano", marks=pytest.mark.slow))
RUNTIMES = ("tflite-runtime", "litert")
SAMPLE = 50


@pytest.fixture(scope="module")
def sentences() -> Texts:
    if not MODEL.is_file():
        pytest.fail(f"{MODEL} does not exist; run make convert MODEL=tinybert, or set TFEDGE_MODEL")
    own = ROOT / "tfedge/data/sentences.tsv"
    return read_texts(SENTENCES if SENTENCES.is_file() else own).head(SAMPLE)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_same_labels_as_here(emulator: Path, sentences: Texts, board: str, runtime: str) -> None:
    emulated = Board((str(emulator), board), runtime, threads=1)
    here = Board(runtime=runtime, threads=1)
    there = emulated.answers(MODEL, sentences.texts)
    assert disagreement(there, here.answers(MODEL, sentences.texts)) == 0


@pytest.mark.slow
def test_every_mode(emulator: Path, sentences: Texts) -> None:
    """Of those that were converted beside the model, in each runtime that it was verified on."""
    files = sorted(MODEL.parent.glob(f"{read_bundle(MODEL).manifest.name}_*.tflite"))
    assert MODEL in files
    for file in files:
        for runtime in read_bundle(file).manifest.runtimes:
            emulated = Board((str(emulator), "rpi4"), runtime, threads=1)
            here = Board(runtime=runtime, threads=1)
            texts = sentences.texts[:10]
            there = emulated.answers(file, texts)
            assert disagreement(there, here.answers(file, texts)) == 0, (file, runtime)
