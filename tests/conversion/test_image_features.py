"""`convert` of an encoder of images without a head: its features, in every verb that has embeddings."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_images
from bars import Bars
from click.testing import CliRunner
from program import INSTALLED, infer

from tfedge import cli
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.data.images import read_images
from tfedge.errors import CheckpointError, InputError
from tfedge.measure.checkpoint import checkpoint_answers
from tfedge.records import as_json
from tfedge.runtime import load
from tfedge.tasks import find, task_and_labels

pytest.importorskip("PIL")

FEATURES = "image-feature-extraction"


@dataclasses.dataclass(frozen=True)
class Toy:
    """A DINOv2 with registers and positions for larger images, in int8."""

    source: Path
    evaluation: Path
    path: Path
    report: dict[str, Any]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    root = tmp_path_factory.mktemp("features")
    source = toy_images.write_features(root / "toy", "dinov2_with_registers")
    calibration = toy_images.write_images(root / "images", 24)
    evaluation = toy_images.write_images(root / "dev", 60, seed=1)
    options = ConvertOptions(
        calibration=str(calibration),
        evaluation=str(evaluation),
        output=root / "out",
        max_drop=100.0,  # of random weights, for which all images are nearly alike
    )
    report = as_json(convert(str(source), options, Bars()))
    return Toy(source, evaluation, root / "out/toy/toy_int8.tflite", report)


def test_all_integers_and_near_float_in_every_runtime(toy: Toy) -> None:
    report = toy.report
    assert report["quantization"]["float_operators"] == 0
    assert 0 < report["float32_tflite_error"] < 1e-4
    # 9 patches, the first token and three registers.
    assert (report["task"], report["sequence_length"]) == (FEATURES, 13)
    figures = report["evaluation"]["runtimes"]
    assert tuple(figures) == INSTALLED
    for found in figures.values():
        assert found["texts"] == 60
        assert found["comparison"]["mean_cosine"] > 0.97
        assert found["comparison"]["neighbours"] == 60
        assert abs(found["same_label_first"] - found["float_same_label_first"]) < 0.1


def test_eval_measures_neighbours_and_compares_with_keras(toy: Toy) -> None:
    words = ["eval", "--model", str(toy.path), "--data", str(toy.evaluation), "--json"]
    result = CliRunner().invoke(cli.main, [*words, "--against", str(toy.source), "--threads", "1"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["texts"], found["images"], found["unanswered"]) == (60, 60, 0)
    assert found["same_label_first"] > 0.8
    assert found["comparison"]["mean_cosine"] > 0.97


def test_the_board_gives_vectors_of_length_one(toy: Toy) -> None:
    paths = read_images(toy.evaluation).texts[:6]
    expected = [answer["embedding"] for answer in checkpoint_answers(toy.source, paths)]
    with load(toy.path, num_threads=1) as embed:
        vectors = embed.encode(paths)
        pixels = embed.encode([toy_images.draw("blob", 0)] * 2)
        found = embed(paths[0])
        similar = np.diag(embed.similarity(vectors, expected))
    assert (vectors.shape, pixels.shape) == ((6, 32), (2, 32))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(similar, 1, atol=0.05)
    assert found["image"] == paths[0]
    given = infer("--model", toy.path, "--threads", "1", paths[0], "none.jpg")
    assert given.code == 1
    assert len(given.lines[0].split()) == 32
    assert given.errors == [
        "tfedge-infer: image 2: none.jpg: no such file; give the path of an image"
    ]


@pytest.mark.parametrize(
    ("name", "head", "task"),
    [
        ("vit", "features", FEATURES),
        ("vit", "classes5", "image-classification"),
        ("dinov2", "features", FEATURES),
        ("dinov2", "classes5", "image-classification"),
    ],
)
def test_the_task_is_that_of_the_head(tmp_path: Path, name: str, head: str, task: str) -> None:
    import cases

    from tfedge.models.checkpoint import Checkpoint

    config, kind, labels = cases.parse(f"{name}.{head}")
    cases.random_checkpoint(tmp_path, config, kind, 1, labels)
    assert task_and_labels(Checkpoint(tmp_path))[0] == task


def test_float_needs_no_calibration_but_something_to_compare_on(toy: Toy) -> None:
    with pytest.raises(InputError, match=r"in float32 needs no images for ranges.* give --eval"):
        convert(str(toy.source), ConvertOptions(quantization="float32"), Bars())


def test_a_missing_head_is_told_before_images_are_asked_for(toy: Toy) -> None:
    options = ConvertOptions(quantization="float32", task="image-classification")
    with pytest.raises(CheckpointError, match="has no classifier: it is an encoder without a head"):
        convert(str(toy.source), options, Bars())


def test_neighbours_by_hand() -> None:
    task = find(FEATURES)
    angles = [0.0, 0.1, 1.0, 1.05, 3.0]
    answers: list[dict[str, Any]] = [{"embedding": [np.cos(a), np.sin(a)]} for a in angles]
    truth = ["a", "a", "b", "a", "c"]
    # Two of three a's are nearest to each other, the third to b, and neither b nor c has another.
    figures = {"images": 3, "same_label_first": 2 / 3}
    assert task.metric(answers, truth, []) == pytest.approx(figures)
    answers[0] = {"error": "damaged"}
    assert task.metric(answers, truth, [])["same_label_first"] == 0.0
