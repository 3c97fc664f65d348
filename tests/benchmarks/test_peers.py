"""Peers' answers for toy checkpoints against those of the same weights in a .tflite.

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

from benchmarks.bench import bench
from benchmarks.peer import PeerOptions
from benchmarks.peers.registry import PEERS
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure.race import BenchOptions
from tfedge.records import as_json

pytestmark = pytest.mark.peers
# Labels of a random toy are near a draw, and its embeddings have few channels: how far the forms of
# integers may be from float, by the mode of a peer.
AGREEMENT = {"float": 1e-5, "dynamic": 0.1, "int8": 0.26}
# MNN computes GELU and exponentials approximately.
APPROXIMATE = {"mnn-float": 1e-3}
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


def run(model: Path, folder: Path, *names: str) -> dict[str, Any]:
    python = os.environ["TFEDGE_BENCH_PYTHON"]
    options = BenchOptions(("litert",), threads=(1,), rounds=1)
    content: dict[str, Any] = as_json(
        bench([str(model)], TEXTS, options, PeerOptions(names, folder, python, (1,)), Bars())
    )
    return content


# A toy is answered within a second, but making its files by every tool takes a minute or two.
FEW = ("mnn-float", "onnxruntime-dynamic", "onnxruntime-float", "torch-float", "openvino-float")
FIRST = "mnn-dynamic-first"


@pytest.mark.parametrize(
    ("architecture", "task", "names"),
    [
        ("bert", "text-classification", tuple(PEERS)),
        ("bert", "sentence-embedding", FEW),
        ("distilbert", "text-classification", FEW),
        ("distilbert", "sentence-embedding", tuple(name for name in PEERS if name != FIRST)),
        ("mobilebert", "text-classification", FEW),
        ("mobilebert", "sentence-embedding", FEW),
    ],
)
def test_same_weights_same_answers(
    tmp_path: Path, architecture: str, task: str, names: tuple[str, ...]
) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy", architecture, task)
    if architecture == "mobilebert":
        forget_padding(folder)
    result = run(converted(folder, tmp_path / "out"), folder, *names)
    assert {name: list(tried) for name, tried in result["variants"].items()} == {
        name: list(PEERS[name].variants) for name in names
    }
    ours, *others = result["contestants"]
    assert [row["peer"] for row in others] == list(names)
    assert [row["unanswered"] for row in (ours, *others)] == [1] * (1 + len(names))
    for row in others:
        runtime = {"ai": "litert", "tflite": "litert"}.get(row["peer"].split("-")[0])
        assert row["runtime"].split()[0] == (runtime or row["peer"].split("-")[0])
        allowed = APPROXIMATE.get(row["peer"], AGREEMENT[row["mode"]])
        assert row["disagreement"] == pytest.approx(0, abs=allowed), row["name"]


@pytest.mark.parametrize(
    ("architecture", "task", "message"),
    [
        ("bert", "sentence-embedding", "sentence-embedding reads all positions"),
        ("distilbert", "text-classification", "the layers of distilbert are not BERT's"),
        ("mobilebert", "text-classification", "the layers of mobilebert are not BERT's"),
    ],
)
def test_what_reads_more_than_the_first(
    tmp_path: Path, architecture: str, task: str, message: str
) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy", architecture, task)
    with pytest.raises(InputError, match=message):
        run(converted(folder, tmp_path / "out"), folder, FIRST)


def test_another_checkpoint(tmp_path: Path) -> None:
    """One of another task, or with other labels, is not the one that was converted."""
    model = converted(toy_folders.write_folder(tmp_path / "toy"), tmp_path / "out")
    encoder = toy_folders.write_folder(tmp_path / "encoder", task="sentence-embedding")
    with pytest.raises(InputError, match=r"lacks weights for text-classification: classifier\."):
        run(model, encoder, "onnxruntime-float")
    stars = toy_folders.write_folder(tmp_path / "stars", labels=["1", "2", "3"])
    with pytest.raises(InputError, match="it has 3 labels and the model 2; give the checkpoint"):
        run(model, stars, "torch-float")
