"""preprocessor_config.json, read as transformers reads it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import toy_images

from tfedge.architectures.base import EncoderConfig
from tfedge.errors import CheckpointError
from tfedge.models.config import parse_config
from tfedge.models.preprocessor import (
    made_sides,
    parse_preprocessor,
    pixels,
    read_preprocessor,
)
from tfedge.runtime.image import read_pixels
from tfedge.runtime.image_settings import ImageSettings

VIT: dict[str, Any] = {"image_processor_type": "ViTImageProcessor"}
DEIT: dict[str, Any] = {"feature_extractor_type": "DeiTFeatureExtractor"}
SIGLIP: dict[str, Any] = {"image_processor_type": "SiglipImageProcessor"}
BEIT: dict[str, Any] = {"image_processor_type": "BeitImageProcessor"}
DEFAULT = parse_config({**cases.IMAGE_CONFIGS["vit"], "image_size": 224, "patch_size": 16})


def sized(height: int, width: int) -> EncoderConfig:
    sizes = {"image_size": [height, width], "patch_size": [height, width]}
    return parse_config({**cases.IMAGE_CONFIGS["vit"], **sizes})


def test_defaults_are_those_of_transformers() -> None:
    vit, deit = (parse_preprocessor(kind, DEFAULT) for kind in (VIT, DEIT))
    assert vit == parse_preprocessor({}, DEFAULT)
    assert (vit.resize, vit.resample, vit.mean) == ((224, 224), "bilinear", (127.5,) * 3)
    assert (deit.resize, deit.resample, deit.shape) == ((256, 256), "bicubic", (224, 224, 3))


# What differs -> settings of the file, height and width of the result.
SETTINGS: dict[str, tuple[dict[str, Any], int, int]] = {
    "squares": ({**VIT, "size": 32}, 32, 32),
    "the middle": ({**DEIT, "size": {"height": 40, "width": 36}, "crop_size": 32}, 32, 32),
    "an edge": ({**DEIT, "size": 20, "crop_size": {"height": 33, "width": 24}}, 33, 24),
    "shorter side": ({**DEIT, "size": {"shortest_edge": 40}, "crop_size": 32}, 32, 32),
    "nearest": ({**VIT, "size": 32, "resample": 0}, 32, 32),
    "lanczos": ({**VIT, "size": 32, "resample": 1}, 32, 32),
    "not normalised": ({**VIT, "size": 32, "do_normalize": False}, 32, 32),
    "not rescaled": ({**VIT, "size": 32, "do_rescale": False, "image_mean": [1, 2, 3]}, 32, 32),
    "siglip": ({**SIGLIP, "size": {"height": 32, "width": 28}}, 32, 28),
    "beit": ({**BEIT, "size": 32}, 32, 32),
    "other numbers": (
        {**VIT, "size": 32, "rescale_factor": 0.01, "image_std": [0.2, 0.4, 0.8]},
        32,
        32,
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_prepares_images_as_transformers_does(name: str, tmp_path: Path) -> None:
    images = pytest.importorskip("PIL.Image")
    vit = pytest.importorskip("transformers.models.vit.image_processing_pil_vit")
    deit = pytest.importorskip("transformers.models.deit.image_processing_pil_deit")
    source, height, width = SETTINGS[name]
    settings = parse_preprocessor(source, sized(height, width))
    siglip = pytest.importorskip("transformers.models.siglip.image_processing_pil_siglip")
    processor = deit.DeiTImageProcessorPil if "feature_extractor_type" in source else None
    beit = pytest.importorskip("transformers.models.beit.image_processing_pil_beit")
    others = {
        "SiglipImageProcessor": siglip.SiglipImageProcessorPil,
        "BeitImageProcessor": beit.BeitImageProcessorPil,
    }
    processor = others.get(source.get("image_processor_type"), processor)
    theirs = (processor or vit.ViTImageProcessorPil)(**source)
    for sides in ((50, 70), (61, 33)):
        drawn = images.fromarray(toy_images.draw("blob", 3, *sides))
        drawn.save(tmp_path / "a.png")
        found = read_pixels(str(tmp_path / "a.png"), settings)
        made_of = pixels(settings)
        ours = found * np.asarray(made_of.scale) + np.asarray(made_of.offset)
        expected = theirs(drawn, return_tensors="np")["pixel_values"][0]
        np.testing.assert_allclose(np.moveaxis(ours, -1, 0), expected, atol=1e-5)


YOLOS: dict[str, Any] = {"image_processor_type": "YolosImageProcessor"}


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ({"size": 32, "max_size": 64}, (60, 80)),
        ({"size": {"shortest_edge": 96, "longest_edge": 100}}, (480, 640)),
        ({"size": {"shortest_edge": 67, "longest_edge": 400}}, (240, 320)),
        ({"size": {"height": 48, "width": 32}}, (50, 70)),
    ],
)
def test_yolos_images_of_the_usual_shape_as_transformers_does(
    size: dict[str, Any], sides: tuple[int, int], tmp_path: Path
) -> None:
    images = pytest.importorskip("PIL.Image")
    theirs = pytest.importorskip("transformers.models.yolos.image_processing_pil_yolos")
    drawn = images.fromarray(toy_images.draw("blob", 3, *sides))
    drawn.save(tmp_path / "a.png")
    expected = theirs.YolosImageProcessorPil(**size)(drawn, return_tensors="np")["pixel_values"][0]
    found = made_sides({**YOLOS, **size})
    assert found == expected.shape[1:]
    settings = parse_preprocessor({**YOLOS, **size}, sized(*found))
    made_of = pixels(settings)
    ours = read_pixels(str(tmp_path / "a.png"), settings) * np.asarray(made_of.scale)
    ours = np.moveaxis(ours + np.asarray(made_of.offset), -1, 0)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do_resize": False}, "those of a .tflite have one size"),
        ({"pad_size": {"height": 64, "width": 64}}, "without pad_size"),
        ({"size": {"shortest_edge": 32}}, "it must be height and width, or have longest_edge"),
        ({"size": {"max_height": 32, "max_width": 32}}, "it must be a number of pixels"),
        ({"size": {"shortest_edge": 32, "longest_edge": "64"}}, "numbers of pixels, 1 to 4096"),
    ],
)
def test_what_yolos_images_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        made_sides({**YOLOS, **change})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 200}, "images of 200 x 200 pixels, and config.json wants 224 x 224"),
        ({"size": {"longest_edge": 224}}, "it must be a number of pixels, height and width"),
        ({"size": "224"}, "size is '224'"),
        ({"size": 0}, "images of 0 x 0"),
        ({"resample": 9}, "resample is 9; known are 0 to 5"),
        ({"image_mean": [0.5, 0.5]}, "image_mean is [0.5, 0.5]; it must be 3 numbers"),
        ({"image_std": [0.5, 0.0, 0.5]}, "it must be above 0"),
        ({"image_std": [0.5, float("nan"), 0.5]}, "not 3 numbers"),
        ({"rescale_factor": 0}, "rescale_factor is 0"),
        ({"resample": [3]}, "resample is [3]; known are 0 to 5"),
        ({"image_mean": 10**400}, "it has a number beyond all that pixels are"),
        ({"rescale_factor": 10**400}, "it has a number beyond all that pixels are"),
    ],
)
def test_impossible_settings_are_named(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**VIT, **change}))
    with pytest.raises(CheckpointError) as caught:
        read_preprocessor(tmp_path, DEFAULT)
    assert message in str(caught.value)
    assert "preprocessor_config.json" in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [("{", "JSON"), ("[]", "list"), (None, "exist")])
def test_files_that_are_none(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        read_preprocessor(tmp_path, DEFAULT)


def test_settings_there_and_back() -> None:
    settings = parse_preprocessor(DEIT, DEFAULT)
    assert ImageSettings.from_json(json.loads(json.dumps(dataclasses.asdict(settings)))) == settings
    for change in ({"height": "224"}, {"resize": 256}, {"resample": "best"}, {"std": [1, 1]}):
        with pytest.raises(ValueError):
            ImageSettings.from_json({**dataclasses.asdict(settings), **change})
    with pytest.raises(ValueError, match="need height, mean"):
        ImageSettings.from_json(None)
