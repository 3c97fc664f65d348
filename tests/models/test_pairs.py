"""Pairs and candidate labels, as the pipelines of transformers answer them in torch."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import test_parity
import toy_folders

from tfedge import tasks
from tfedge.data.reader import open_reader
from tfedge.measure.checkpoint import checkpoint_answers
from tfedge.models.checkpoint import Checkpoint
from tfedge.runtime.tokenizer import Encoded, TextEncoder
from tfedge.runtime.wanted import Wanted
from tfedge.runtime.zero_shot import ZeroShot

NLI = ("contradiction", "neutral", "entailment")
LENGTH = 100
TEXTS = ["the film is good", "Ada was born in a dull film ?", "where is bob , " * 40]
CANDIDATES = ["film", "great", "born"]
PAIRS = [(text, second) for text in TEXTS for second in (*TEXTS, "bad")]


@pytest.mark.torch
def test_pipelines_answer_the_same(tmp_path: Path) -> None:
    python = test_parity.torch_python()
    sizes = {"max_position_embeddings": LENGTH, "initializer_range": 1.0}
    folder = toy_folders.write_folder(tmp_path / "nli", labels=NLI, **sizes)
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": LENGTH}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    asked = {"pairs": PAIRS, "texts": TEXTS, "candidates": CANDIDATES}
    command = [python, str(Path(__file__).with_name("answer_pairs.py")), str(folder)]
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    ours = checkpoint_answers(folder, PAIRS, max_length=LENGTH)
    for answer, expected in zip(ours, theirs["pairs"], strict=True):
        scores = {item["label"]: item["score"] for item in expected}
        assert answer["scores"] == pytest.approx(scores, abs=1e-5)
    _check_zero_shot(folder, theirs["zero_shot"])


def _check_zero_shot(folder: Path, expected: list[dict[str, Any]]) -> None:
    model = test_parity.load(folder, "text-classification")[0]
    encoding = open_reader(
        folder, Checkpoint(folder).config, tasks.find("text-classification")
    ).encoding()
    encoder = TextEncoder(encoding["tokenizer_json"], LENGTH)

    def run(pair: Encoded) -> Any:
        return test_parity.answers(model, pair.arrays(len(pair)))["logits"][0]

    found = [
        ZeroShot(NLI, Wanted(candidate_labels=CANDIDATES, multi_label=multi_label)).answer(
            text, encoder, run
        )
        for text in TEXTS
        for multi_label in (False, True)
    ]
    for answer, theirs in zip(found, expected, strict=True):
        assert list(answer["scores"]) == theirs["labels"]
        assert list(answer["scores"].values()) == pytest.approx(theirs["scores"], abs=1e-5)
