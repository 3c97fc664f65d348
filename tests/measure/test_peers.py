"""ONNX Runtime's answers for toy checkpoints against those of the same weights in a .tflite.

`make test-peers` runs this, with the Python of .venv-bench in TFEDGE_BENCH_PYTHON.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import toy_folders
from bars import Bars
from safetensors.numpy import load_file, save_file
from toys import VOCABULARY

from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure.bench import BenchOptions, bench
from tfedge.measure.peer import PEERS
from tfedge.measure.peers.export_onnx import variants
from tfedge.pipeline import ConvertOptions, convert

pytestmark = pytest.mark.peers
TEXTS = Texts(["a good film", "awful", "\0", "the film was dull ."], None, "toy.txt")


def converted(folder: Path, output: Path, **options: Any) -> Path:
    """The checkpoint as a float32 .tflite."""
    settings = ConvertOptions("float32", 16, (8,), output=output, **options)
    convert(str(folder), settings, Bars())
    return output / folder.name / f"{folder.name}_float32.tflite"


def forget_padding(folder: Path) -> None:
    """Gives the padding token a zero embedding.

    MobileBERT looks at each token's neighbours, so its last token sees the padding of a bucket,
    and a zero where there is none, as in the peers.
    """
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    (name,) = (name for name in tensors if name.endswith("word_embeddings.weight"))
    tensors[name][VOCABULARY.index("[PAD]")] = 0
    save_file(tensors, weights, metadata={"format": "pt"})


def run(model: Path, folder: Path) -> dict[str, Any]:
    python = os.environ["TFEDGE_BENCH_PYTHON"]
    options = BenchOptions(tuple(PEERS), str(folder), python, "litert", threads=1, rounds=1)
    return bench([str(model)], TEXTS, options, Bars())


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "mobilebert"])
@pytest.mark.parametrize("task", ["text-classification", "sentence-embedding"])
def test_same_weights_same_answers(tmp_path: Path, architecture: str, task: str) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy", architecture, task)
    if architecture == "mobilebert":
        forget_padding(folder)
    result = run(converted(folder, tmp_path / "out"), folder)
    assert {name: list(tried) for name, tried in result["variants"].items()} == {
        name: variants(kind) for name, kind in PEERS.items()
    }
    ours, dynamic, plain = result["contestants"]
    assert [row["unanswered"] for row in (ours, dynamic, plain)] == [1] * 3
    assert plain["disagreement"] == pytest.approx(0, abs=1e-5)
    assert plain["runtime"] == dynamic["runtime"]
    assert plain["runtime"].startswith("onnxruntime ")
    assert dynamic["disagreement"] < 0.1


def test_another_checkpoint(tmp_path: Path) -> None:
    """One of another task, or with other labels, is not the one that was converted."""
    model = converted(toy_folders.write_folder(tmp_path / "toy"), tmp_path / "out")
    encoder = toy_folders.write_folder(tmp_path / "encoder", task="sentence-embedding")
    with pytest.raises(InputError, match=r"lacks weights for text-classification: classifier\."):
        run(model, encoder)
    stars = toy_folders.write_folder(tmp_path / "stars", labels=["1", "2", "3"])
    with pytest.raises(InputError, match="it has 3 labels and the model 2; give the checkpoint"):
        run(model, stars)
