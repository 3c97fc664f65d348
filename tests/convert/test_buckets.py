"""Several lengths in one file: the same weights, the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_folders

from tfedge import tasks
from tfedge.convert.convert import ConvertOptions, convert
from tfedge.inspect.contents import contents as held
from tfedge.measure.board import Board
from tfedge.progress import ProgressBar
from tfedge.records import as_json
from tfedge.runtime.bundle import read_bundle
from tfedge.tasks.base import disagreement

WORDS = 12


@pytest.mark.parametrize("quantization", ["int8", "float32"])
def test_buckets_share_weights_and_give_the_same_answers(quantization: str, tmp_path: Path) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy", "bert", num_hidden_layers=1)
    data = str(toy_folders.write_sentences(tmp_path / "toy.tsv", 24))
    reports, contents = {}, {}
    for name, buckets in (("one", ()), ("three", (8, 12, 32))):
        options = ConvertOptions(
            quantization,
            16,
            buckets,
            calibration=data,
            runtime="litert",
            max_drop=100.0,
            output=tmp_path / name,
        )
        reports[name] = as_json(convert(str(folder), options, ProgressBar))
        contents[name] = (tmp_path / name / "toy" / f"toy_{quantization}.tflite").read_bytes()
    # Those not below the longest are left out.
    assert reports["three"]["buckets"] == [8, 12]
    path = tmp_path / "three" / "toy" / f"toy_{quantization}.tflite"
    signatures = read_bundle(path).manifest.signatures
    assert signatures == {"serving_default": 16, "tokens_8": 8, "tokens_12": 12}

    one, three = (sum(held(content).constants.values()) for content in contents.values())
    table = toy_folders.config()["vocab_size"] * toy_folders.config()["hidden_size"]
    assert three - one < table  # not even the words' embeddings come twice

    texts = [" ".join(["a"] * count) for count in range(1, WORDS)]
    answers = [
        Board(runtime="litert").answers(tmp_path / name / "toy" / path.name, texts)
        for name in ("one", "three")
    ]
    assert disagreement(tasks.find("text-classification"), *answers) == 0
    for a, b in zip(*answers, strict=True):
        assert a["score"] == pytest.approx(b["score"], abs=0.02)
