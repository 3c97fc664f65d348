"""`convert` of a model of images, and what everything else does with the file: the board above all."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import toy_images
from bars import Bars
from broken_pictures import trial
from click.testing import CliRunner
from program import INSTALLED, each_runtime, infer
from tflite.test_metadata import metadata

from benchmarks.__main__ import main as benchmarks
from tfedge import cli
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.data.images import read_images
from tfedge.errors import InputError
from tfedge.measure.board import Board
from tfedge.measure.checkpoint import checkpoint_answers
from tfedge.models.config import parse_config
from tfedge.presets import load_preset
from tfedge.records import as_json
from tfedge.runtime.bundle import LABELS_FILE, MANIFEST_FILE, read_bundle

pytest.importorskip("PIL")

IMAGES = "image-classification"


@dataclasses.dataclass(frozen=True)
class Toy:
    """A checkpoint, its images and what became of it in int8."""

    source: Path
    calibration: Path
    evaluation: Path
    output: Path
    report: dict[str, Any]

    @property
    def path(self) -> Path:
        return self.output / self.source.name / f"{self.source.name}_int8.tflite"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A DeiT with two classifiers."""
    root = tmp_path_factory.mktemp("vision")
    source = toy_images.write_folder(root / "toy", "deit", teacher=True)
    calibration = toy_images.write_images(root / "images", 24)
    evaluation = toy_images.write_images(root / "dev", 18, seed=1, suffix=".jpg")
    options = ConvertOptions(
        calibration=str(calibration), evaluation=str(evaluation), output=root / "out"
    )
    report = as_json(convert(str(source), options, Bars()))
    return Toy(source, calibration, evaluation, root / "out", report)


def test_all_integers_and_right_in_every_runtime(toy: Toy) -> None:
    report = toy.report
    assert report["quantization"]["float_operators"] == 0
    assert 0 < report["float32_tflite_error"] < 1e-4
    assert (report["task"], report["sequence_length"], report["buckets"]) == (IMAGES, 11, [])
    (pixels,) = report["inputs"]
    assert (pixels["name"], pixels["shape"]) == ("pixel_values", [1, 24, 24, 3])
    # A step is one of the 256 values of red, green or blue: nothing is rounded.
    assert (pixels["dtype"], pixels["scale"], pixels["zero_point"]) == ("UINT8", 1.0, 0)
    figures = report["evaluation"]["runtimes"]
    assert tuple(figures) == INSTALLED
    for found in figures.values():
        assert found["texts"] == 18
        assert found["float_accuracy"] > 0.9
        assert found["accuracy"] > 0.9
        assert found["disagreement"] < 0.1


@pytest.mark.parametrize("name", ["beit"])
def test_others_are_all_integers_and_right_in_every_runtime(tmp_path: Path, name: str) -> None:
    options = ConvertOptions(
        calibration=str(toy_images.write_images(tmp_path / "images", 24)),
        evaluation=str(toy_images.write_images(tmp_path / "dev", 18, seed=1)),
        output=tmp_path / "out",
    )
    source = toy_images.write_folder(tmp_path / name, name)
    report = as_json(convert(str(source), options, Bars()))
    assert report["quantization"]["float_operators"] == 0
    assert 0 < report["float32_tflite_error"] < 1e-4
    figures = report["evaluation"]["runtimes"]
    assert tuple(figures) == INSTALLED
    for found in figures.values():
        assert found["float_accuracy"] > 0.9
        assert found["disagreement"] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "quantization", "least"),
    [("deit-tiny", "int8", 0.8), ("deit-small", "int8", 0.8), ("deit-small", "mixed", 0.9)],
)
def test_full_size(tmp_path: Path, preset: str, quantization: str, least: float) -> None:
    """Twelve layers, 224 x 224 pixels: of three patterns most are told apart; docs/vision.md says why
    not all."""
    source = toy_images.write_full_size(tmp_path / preset, preset)
    calibration = toy_images.write_images(tmp_path / "images", 24, side=224)
    evaluation = toy_images.write_images(tmp_path / "dev", 60, seed=1, side=224)
    options = ConvertOptions(
        calibration=str(calibration),
        evaluation=str(evaluation),
        quantization=quantization,
        output=tmp_path / "out",
        max_drop=100.0,
    )
    report = as_json(convert(str(source), options, Bars()))
    assert (report["quantization"]["float_operators"] == 0) is (quantization == "int8")
    assert 0 < report["float32_tflite_error"] < 1e-4
    figures = report["evaluation"]["runtimes"]
    assert tuple(figures) == INSTALLED
    for found in figures.values():
        assert found["texts"] == 60
        assert found["float_accuracy"] > 0.9
        assert found["accuracy"] > least


def test_what_travels_in_the_file(toy: Toy) -> None:
    content = toy.path.read_bytes()
    manifest = read_bundle(toy.path).manifest
    assert (manifest.task, manifest.labels) == (IMAGES, toy_images.LABELS)
    settings = manifest.image
    assert settings is not None
    assert (settings.shape, settings.resize, settings.resample) == (
        (24, 24, 3),
        (24, 24),
        "bilinear",
    )
    np.testing.assert_allclose(settings.mean, [127.5, 102, 153])
    np.testing.assert_allclose(settings.std, [127.5, 63.75, 127.5])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [MANIFEST_FILE, LABELS_FILE]
        assert archive.read(LABELS_FILE).decode().split() == list(toy_images.LABELS)


def test_metadata_for_other_readers(toy: Toy) -> None:
    top = metadata(toy.path.read_bytes())
    assert top.text(7) == "1.0.0"  # min_parser_version
    (subgraph,) = top.tables(3)
    (image,) = subgraph.tables(2)
    assert image.text(0) == "image"
    content = image.table(3)
    assert content.byte(0) == 2  # ImageProperties
    properties = content.table(1)
    assert properties.byte(0) == 1  # RGB
    assert [_number(properties.table(1), field) for field in (0, 1)] == [24, 24]
    (unit,) = image.tables(4)
    assert unit.byte(0) == 1  # NormalizationOptions
    # What is left to do to pixels of 0 to 255 before the model reads them: nothing.
    assert [_floats(unit.table(1), field) for field in (0, 1)] == [[0.0], [1.0]]
    assert [_floats(image.table(5), field) for field in (0, 1)] == [[255.0], [0.0]]


def _number(table: Any, field: int) -> int:
    raw = table._table
    position = raw.Pos + table._slot(field)
    return int(raw.Get(flatbuffers.number_types.Uint32Flags, position))


def _floats(table: Any, field: int) -> list[float]:
    raw, slot = table._table, table._slot(field)
    first = raw.Vector(slot)
    kind = flatbuffers.number_types.Float32Flags
    return [raw.Get(kind, first + 4 * index) for index in range(raw.VectorLen(slot))]


@each_runtime
def test_tfedge_infer(toy: Toy, runtime: str) -> None:
    paths = sorted(toy.evaluation.glob("*/*.jpg"))[::4]
    options = ("--model", toy.path, "--runtime", runtime, "--threads", "1")
    by_line = infer(*options, stdin="".join(f"{path}\n" for path in paths).encode())
    assert by_line.code == 0, by_line.errors
    labels = [line.split("\t")[0] for line in by_line.lines]
    assert labels == [path.parent.name for path in paths]
    given = infer(*options, "--json", *paths, "none.jpg", toy.source / "config.json")
    assert given.code == 1
    *answers, missing, foreign = given.objects
    assert [answer["label"] for answer in answers] == labels
    assert answers[0]["image"] == str(paths[0])
    assert sum(answers[0]["scores"].values()) == pytest.approx(1)
    assert missing == {
        "image": "none.jpg",
        "error": "none.jpg: no such file; give the path of an image",
    }
    assert "config.json: not an image; JPEG" in foreign["error"]
    assert [line.split(": ")[1] for line in given.errors] == [
        f"image {len(paths) + 1}",
        f"image {len(paths) + 2}",
    ]


def test_an_image_or_frames_on_standard_input(toy: Toy) -> None:
    paths = [next(toy.evaluation.glob(f"{label}/*.jpg")) for label in toy_images.LABELS]
    options = ("--model", toy.path, "--threads", "1", "--json")
    (answer,) = infer(*options, "-", stdin=paths[0].read_bytes()).objects
    assert (answer["image"], answer["label"]) == ("-", "across")
    none = infer(*options, "-")
    assert (none.code, none.objects[0]["image"]) == (1, "-")
    assert "standard input is empty" in none.errors[0]
    stream = b"".join(path.read_bytes() for path in paths)
    found = infer(*options, "--frames", "mjpeg", stdin=stream)
    last = found.objects[-1]
    assert (last["frame"], last["label"]) == (3, "blob")
    assert sum(1 + each["dropped"] for each in found.objects) == 3
    for wrong in (
        ("--frames", "3x"),
        ("--frames", "mjpeg", "a.jpg"),
        ("--frames", "mjpeg", "--jsonl"),
    ):
        assert infer(*options, *wrong).code == 2


def test_broken_pictures_are_refused_in_a_line_each(toy: Toy) -> None:
    found = trial(toy.path, 150)
    assert not found.faults
    assert found.answered > 10
    assert found.refused > 60


def test_json_lines_benchmark_and_doctor(toy: Toy) -> None:
    path = str(next(toy.evaluation.glob("down/*.jpg")))
    options = ("--model", toy.path, "--threads", "1", "--json")
    lines = "\n".join(json.dumps(item) for item in (path, {"image": path}, {"text": path}))
    result = infer(*options, "--jsonl", "--top-k", "1", stdin=lines.encode())
    assert [answer.get("label") for answer in result.objects] == ["down", "down", None]
    assert "an object with a string 'image'" in result.objects[2]["error"]
    (timing,) = infer(*options, "--benchmark", "3").objects
    assert (timing["runs"], timing["texts"]) == (3, 1)
    (report,) = infer(*options, "--doctor").objects
    assert report["can_answer"] is True
    assert report["answer"]["median_ms"] > 0


def test_eval_inspect_and_bench(toy: Toy) -> None:
    run = CliRunner().invoke
    data = ["--data", str(toy.evaluation)]
    model = str(toy.path)
    result = run(cli.main, ["eval", "--model", model, *data, "--threads", "1", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["texts"], found["unanswered"]) == (18, 0)
    assert found["accuracy"] > 0.9
    result = run(cli.main, ["inspect", model, "--against", model, *data, "--texts", "2"])
    assert "no layer of one name and shape" in str(result.exception)  # it is no float model
    result = run(cli.main, ["bench", model, *data, "--rounds", "1", "--json"])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout.splitlines()[-1])["contestants"]
    assert row["accuracy"] == found["accuracy"]
    peer = ["--peer", "onnxruntime-float", "--checkpoint", str(toy.source)]
    result = run(benchmarks, [model, *data, *peer])
    assert "--peer is for models of texts" in result.output


def test_checkpoint_in_keras_answers_as_the_board(toy: Toy) -> None:
    images = read_images(toy.evaluation).head(6)
    answers = checkpoint_answers(toy.source, images.texts)
    on_board = Board(threads=1).answers(toy.path, images.texts)
    assert [answer["label"] for answer in answers] == [answer["label"] for answer in on_board]
    assert answers[0]["image"] == images.texts[0]
    for ours, theirs in zip(answers, on_board, strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs images like those that it will see"),
        ({"evaluation": "dev"}, "needs images like those that it will see"),
        ({"calibration": "dev", "buckets": (8,)}, "always has 11 tokens; leave out --seq-len"),
        ({"calibration": "dev", "sequence_length": 11}, "leave out --seq-len and --buckets"),
        ({"calibration": "dev", "target": "edgetpu"}, "the target edgetpu is for models of texts"),
        ({"calibration": "dev", "target": "mediapipe"}, "the target mediapipe is for models of t"),
        ({"calibration": "none"}, "give a folder of images"),
        ({"calibration": "dev", "task": "text-classification"}, "a deit cannot be used for"),
    ],
)
def test_what_cannot_be_converted(toy: Toy, options: dict[str, Any], message: str) -> None:
    given = {
        key: str(toy.evaluation.with_name(value)) if key in ("calibration", "evaluation") else value
        for key, value in options.items()
    }
    with pytest.raises(InputError, match=message):
        convert(str(toy.source), ConvertOptions(**given, output=toy.output), Bars())


def test_a_bad_image_of_the_calibration_is_named(toy: Toy, tmp_path: Path) -> None:
    folder = toy_images.write_images(tmp_path, 4)
    (folder / "down" / "000.png").write_text("no image")
    with pytest.raises(InputError, match=r"down/000\.png: not an image"):
        convert(str(toy.source), ConvertOptions(calibration=str(folder)), Bars())


TRAINING = [
    ["distil", "tinybert", "--teacher", "{toy}"],
    ["prune", "{toy}"],
    ["shrink", "{toy}", "--target-flops", "0.5"],
    ["qad", "{toy}"],
]


@pytest.mark.parametrize("name", ["a.tsv", "images"])
@pytest.mark.parametrize("command", TRAINING, ids=[command[0] for command in TRAINING])
def test_stages_for_texts_refuse_it(
    toy: Toy, command: list[str], name: str, tmp_path: Path
) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\nhello\ta\nworld\tb\n")
    toy_images.write_images(tmp_path / "images", 4)
    data = ["--data", str(tmp_path / name), "--output", str(tmp_path / "out")]
    words = [word.replace("{toy}", str(toy.source)) for word in command]
    result = CliRunner().invoke(cli.main, [*words, *data])
    assert isinstance(result.exception, InputError)
    assert "is for models of texts, and a deit reads images" in str(result.exception)


def test_export_says_what_goes_in(toy: Toy, tmp_path: Path) -> None:
    words = [
        "export",
        str(toy.source),
        "--format",
        "saved-model",
        "--output",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 0, result.output
    assert "saved-model, image-classification, an image of 24 x 24 pixels" in result.output


def test_init_writes_what_convert_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = load_preset("deit-tiny")
    small = {"hidden_size": 12, "num_hidden_layers": 1, "intermediate_size": 8}
    monkeypatch.setattr(
        "tfedge.presets.load_preset",
        lambda name: dataclasses.replace(preset, config={**preset.config, **small}),
    )
    folder = tmp_path / "new"
    result = CliRunner().invoke(cli.main, ["init", "deit-tiny", str(folder)])
    assert result.exit_code == 0, result.output
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    }
    answers = checkpoint_answers(folder, [str(_photo(tmp_path))])
    assert len(answers[0]["scores"]) == 1000
    words = ["init", "deit-tiny", str(tmp_path / "b"), "--tokenizer", str(tmp_path)]
    result = CliRunner().invoke(cli.main, words)
    assert "reads images; leave out --tokenizer" in str(result.exception)


def _photo(folder: Path) -> Path:
    from PIL import Image

    Image.fromarray(toy_images.draw("blob", 0, 300, 400)).save(folder / "photo.png")
    return folder / "photo.png"


@pytest.mark.parametrize("name", ["deit-tiny", "deit-small", "vit-tiny", "vit-small"])
def test_presets_describe_published_sizes(name: str) -> None:
    from tfedge.models.cost import flops, parameters

    preset = load_preset(name)
    config = parse_config(preset.config)
    head = 1000 * (config.hidden_size + 1)
    # DeiT's paper: 5M and 22M parameters, with the head; 1.3 and 4.6 billion multiply-accumulates.
    million, billion = (5.7, 1.26) if name.endswith("tiny") else (22.1, 4.6)
    assert (parameters(config) + head) / 1e6 == pytest.approx(million, abs=0.06)
    assert flops(config, preset.sequence_length) / 2e9 == pytest.approx(billion, abs=0.02)
    assert config.max_position_embeddings == preset.sequence_length
