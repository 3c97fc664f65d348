"""`convert` of a model that finds objects, and what everything else does with the file."""

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
from once import Once
from program import INSTALLED, infer

from tfedge import cli
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.data.images import read_images
from tfedge.measure.checkpoint import checkpoint_answers
from tfedge.records import as_json
from tfedge.runtime.wanted import Wanted

pytest.importorskip("PIL")


@dataclasses.dataclass(frozen=True)
class Toy:
    """A YOLOS with places between layers, which are stored for images of another size."""

    source: Path
    images: Path
    path: Path

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.with_suffix(".json").read_text())
        return found


@pytest.fixture(scope="module")
def toy(once: Once) -> Toy:
    def make(root: Path) -> None:
        source = toy_images.write_detector(root / "toy")
        calibration = toy_images.write_images(root / "images", 24)
        evaluation = toy_images.write_images(root / "dev", 30, seed=1, side=96)
        options = ConvertOptions(
            calibration=str(calibration),
            evaluation=str(evaluation),
            output=root / "out",
            max_drop=10.0,  # of random weights
        )
        convert(str(source), options, Bars())

    root = once.folder("detector", make)
    return Toy(root / "toy", root / "dev", root / "out/toy/toy_int8.tflite")


def test_all_integers_and_boxes_of_float_in_every_runtime(toy: Toy) -> None:
    report = toy.report
    assert report["quantization"]["float_operators"] == 0
    assert 0 < report["float32_tflite_error"] < 1e-4
    # 12 patches, the first token, and five that find objects.
    assert (report["task"], report["sequence_length"]) == ("object-detection", 18)
    assert tuple(report["evaluation"]["runtimes"]) == INSTALLED
    for found in report["evaluation"]["runtimes"].values():
        # What float finds is the truth, as the images have no boxes.
        assert found["float_average_precision_50"] == 1.0
        assert found["average_precision_50"] > 0.92
        assert found["comparison"]["objects"] > 60
        assert found["comparison"]["average_precision"] > 0.7


def test_the_board_answers_as_the_checkpoint_in_keras(toy: Toy) -> None:
    paths = read_images(toy.images).texts[:8]
    result = infer("--model", toy.path, "--threads", "1", "--json", "--threshold", "0", *paths)
    assert result.code == 0, result.errors
    expected = checkpoint_answers(toy.source, paths, wanted=Wanted(threshold=0.0))
    ours, theirs = (
        np.array([[[*each["box"].values()] for each in one["objects"]] for one in side])
        for side in (result.objects, expected)
    )
    assert ours.shape == (8, 5, 4)
    assert np.abs(ours - theirs).mean() < 3  # of 96 pixels


def test_eval_by_boxes_as_coco_has_them(toy: Toy, tmp_path: Path) -> None:
    """What the checkpoint itself finds is right by definition, but for what its boxes are cut to."""
    paths = read_images(toy.images).texts[:10]
    annotations, names = [], list(toy_images.LABELS)
    for index, answer in enumerate(checkpoint_answers(toy.source, paths)):
        for each in answer["objects"]:
            left, top, right, bottom = each["box"].values()
            bbox = [left, top, right - left, bottom - top]
            label = names.index(each["label"])
            annotations.append({"image_id": index, "category_id": label, "bbox": bbox})
    images = [{"id": index, "file_name": path} for index, path in enumerate(paths)]
    categories = [{"id": index, "name": name} for index, name in enumerate(names)]
    truth = tmp_path / "truth.json"
    truth.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    found = {}
    for model in (toy.path, toy.source):
        words = ["eval", "--model", str(model), "--data", str(truth), "--json", "--threads", "1"]
        result = CliRunner().invoke(cli.main, words)
        assert result.exit_code == 0, result.output
        found[model] = json.loads(result.stdout.splitlines()[-1])
    assert found[toy.source]["average_precision"] == 1.0
    assert found[toy.source]["objects"] == len(annotations)
    assert 0.9 < found[toy.path]["average_precision_50"] <= 1.0
    assert 0.6 < found[toy.path]["average_precision"] < 1.0


def test_inspect_reads_it(toy: Toy) -> None:
    result = CliRunner().invoke(cli.main, ["inspect", str(toy.path)])
    assert result.exit_code == 0, result.output
    assert "object-detection" in result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantization", "least"),
    [("mixed", 0.92), ("dynamic", 0.92), ("int8-float-io", 0.88), ("float32", 1.0)],
)
def test_other_modes(toy: Toy, tmp_path: Path, quantization: str, least: float) -> None:
    options = ConvertOptions(
        quantization=quantization,
        calibration=str(toy.images),
        evaluation=str(toy.images),
        output=tmp_path,
        max_drop=10.0,
    )
    report = as_json(convert(str(toy.source), options, Bars()))
    for found in report["evaluation"]["runtimes"].values():
        assert found["average_precision_50"] >= least


@pytest.mark.slow
def test_export_gives_transformers_outputs(toy: Toy, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    words = [
        "export",
        str(toy.source),
        "--format",
        "onnx",
        "--output",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.rglob("*.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = {item.name: item.shape for item in session.get_outputs()}
    assert {name: shape[1:] for name, shape in outputs.items()} == {
        "logits": [5, 4],
        "pred_boxes": [5, 4],
    }
