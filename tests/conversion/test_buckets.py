"""Several lengths in one file: the same weights, the same answers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import toy_folders
from conversions import converted, several_lengths
from once import Once

from tfedge import tasks
from tfedge.inspect.contents import contents as held
from tfedge.measure.board import Board
from tfedge.runtime.bundle import read_bundle
from tfedge.tasks.base import disagreement

WORDS = 12


@pytest.mark.parametrize("quantization", ["int8", "float32"])
def test_buckets_share_weights_and_give_the_same_answers(
    quantization: str, tmp_path: Path, once: Once
) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy", "bert", small=True)
    data = toy_folders.write_sentences(tmp_path / "toy.tsv", 24)
    several = several_lengths(quantization, data)
    single = dataclasses.replace(several, buckets=(), keep_reference=False)
    folders = [converted(once, folder, options) for options in (single, several)]
    one, three = (made / f"toy_{quantization}.tflite" for made in folders)
    # Those not below the longest are left out.
    assert json.loads(three.with_suffix(".json").read_text())["buckets"] == [8, 12]
    signatures = read_bundle(three).manifest.signatures
    assert signatures == {"serving_default": 16, "tokens_8": 8, "tokens_12": 12}

    sizes = [sum(held(path.read_bytes()).constants.values()) for path in (one, three)]
    table = toy_folders.config()["vocab_size"] * toy_folders.config()["hidden_size"]
    assert sizes[1] - sizes[0] < table  # not even the words' embeddings come twice

    texts = [" ".join(["a"] * count) for count in range(1, WORDS)]
    answers = [Board(runtime="litert").answers(path, texts) for path in (one, three)]
    assert disagreement(tasks.find("text-classification"), *answers) == 0
    for a, b in zip(*answers, strict=True):
        assert a["score"] == pytest.approx(b["score"], abs=0.02)
