"""The shipped model on an emulated 64-bit ARM board gives the labels that it gives on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfedge.data.texts import Texts, read_texts
from tfedge.measure.accuracy import disagreement
from tfedge.measure.board import Board

pytestmark = [pytest.mark.arm, pytest.mark.slow]

ROOT = Path(__file__).parents[1]
EMULATOR = Path(os.environ.get("TFEDGE_ARM_RUN", ROOT.parent / "shared/arm/run"))
SENTENCES = ROOT.parent / "shared/data/sst2/dev.tsv"
MODEL = Path(os.environ.get("TFEDGE_MODEL", ROOT / "saved_models/tinybert/tinybert_int8.tflite"))
SAMPLE = 50


@pytest.fixture(scope="module")
def sentences() -> Texts:
    if not EMULATOR.is_file():
        pytest.skip(f"no emulated board: {EMULATOR} does not exist; set TFEDGE_ARM_RUN")
    if not MODEL.is_file():
        pytest.fail(f"{MODEL} does not exist; run make convert MODEL=tinybert, or set TFEDGE_MODEL")
    own = ROOT / "tfedge/data/sentences.tsv"
    return read_texts(SENTENCES if SENTENCES.is_file() else own).head(SAMPLE)


@pytest.mark.parametrize("board", ["rpi4", "rpi5"])
@pytest.mark.parametrize("runtime", ["tflite-runtime", "litert"])
def test_same_labels_as_here(sentences: Texts, board: str, runtime: str) -> None:
    emulated = Board((str(EMULATOR), board), runtime, threads=1)
    here = Board(runtime=runtime, threads=1)
    there = emulated.answers(MODEL, sentences.texts)
    assert disagreement(there, here.answers(MODEL, sentences.texts)) == 0
