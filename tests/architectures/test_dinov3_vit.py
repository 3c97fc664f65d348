"""What only DINOv3 has: places that turn queries and keys, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import toy_images
from bars import Bars
from program import INSTALLED
from safetensors.numpy import load_file
from test_parity import torch_python

from tfedge.architectures.base import ARCHITECTURES
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.errors import CheckpointError, InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config, preset_config, read_config
from tfedge.models.cost import parameters
from tfedge.models.places import patch_angles
from tfedge.models.preprocessor import parse_preprocessor
from tfedge.presets import load_preset
from tfedge.records import as_json
from tfedge.runtime.image import read_pixels
from tfedge.tasks import task_and_labels

DINOV3 = cases.parse("dinov3_vit.features")[0]
# What transformers' processor does, without torchvision: its resize of tensors is this function.
RESIZE = """
import sys, numpy, torch
from PIL import Image
pixels = torch.from_numpy(numpy.array(Image.open(sys.argv[1]))).permute(2, 0, 1)[None] / 255
made = torch.nn.functional.interpolate(pixels, (24, 24), mode="bilinear", antialias=True)
numpy.save(sys.argv[2], made[0].permute(1, 2, 0).numpy())
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_gated_mlp": True}, "use_gated_mlp is True, which no builder supports"),
        ({"mlp_bias": False}, "mlp_bias is False, which no builder supports"),
        ({"query_bias": False}, "query_bias is False, which no builder supports"),
        ({"key_bias": 1}, "key_bias is 1; it must be true or false"),
        ({"rope_theta": 0}, "rope_theta is 0; it must be a number above 1"),
        ({"num_attention_heads": 16}, "heads of 2 channels .* have no two halves of pairs"),
        ({"num_register_tokens": -1}, "num_register_tokens is -1"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_config({**DINOV3, **changes})


def test_it_is_for_features_alone(tmp_path: Path) -> None:
    cases.random_checkpoint(tmp_path, DINOV3, cases.FEATURES, 1)
    checkpoint = Checkpoint(tmp_path)
    assert task_and_labels(checkpoint) == (cases.FEATURES, [])
    with pytest.raises(InputError, match="a dinov3_vit is for image-feature-extraction alone"):
        build(checkpoint.config, cases.IMAGES, 2)


def test_angles_of_two_by_one_patches() -> None:
    """By hand: middles at -1/2 and 1/2 down and at 0 across, frequencies 1 and 100^-1/2."""
    angles = patch_angles(8, (2, 1), 1, 100.0)
    down = np.pi * np.array([1, 0.1, 0, 0] * 2)
    np.testing.assert_allclose(angles, [0 * down, -down, down], atol=1e-6)


def test_sizes_are_those_of_the_images_that_come(tmp_path: Path) -> None:
    cases.random_checkpoint(tmp_path, DINOV3, cases.FEATURES, 1)
    cases.write_preprocessor(tmp_path, {"pictures": 40})
    config = read_config(tmp_path)
    assert config.max_position_embeddings == 4 + 25
    exported = ARCHITECTURES["dinov3_vit"].exported(config)
    assert exported == {"image_size": [40, 40]}


def test_what_is_written_has_all_tensors(tmp_path: Path) -> None:
    """With registers or without."""
    for name in ("dinov3_vit", "dinov3_vit-wide"):
        config = cases.parse(f"{name}.features")[0]
        tensors = cases.random_checkpoint(tmp_path / name, config, cases.FEATURES, 1)
        checkpoint = Checkpoint(tmp_path / name)
        model = build(checkpoint.config, cases.FEATURES).model
        assert load_weights(model, checkpoint, cases.FEATURES) == []
        save_checkpoint(model, checkpoint.config, cases.FEATURES, tmp_path / name / "back")
        written = load_file(tmp_path / name / "back/model.safetensors")
        assert {n: t.shape for n, t in written.items()} == {n: t.shape for n, t in tensors.items()}


def test_int8_gives_the_vectors_of_float(tmp_path: Path) -> None:
    source = toy_images.write_features(tmp_path / "toy", "dinov3_vit")
    options = ConvertOptions(
        calibration=str(toy_images.write_images(tmp_path / "images", 24)),
        evaluation=str(toy_images.write_images(tmp_path / "dev", 18, seed=1)),
        output=tmp_path / "out",
    )
    report = as_json(convert(str(source), options, Bars()))
    assert report["quantization"]["float_operators"] == 0
    assert 0 < report["float32_tflite_error"] < 1e-4
    figures = report["evaluation"]["runtimes"]
    assert tuple(figures) == INSTALLED
    for found in figures.values():
        assert found["disagreement"] < 0.05


@pytest.mark.torch
def test_pixels_are_those_of_the_processor_but_for_rounding(tmp_path: Path) -> None:
    images = toy_images.write_images(tmp_path / "images", 3, side=70)
    named = {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": 24}
    settings = parse_preprocessor(named, parse_config(DINOV3))
    for path in images.rglob("*.png"):
        command = [torch_python(), "-c", RESIZE, str(path), str(tmp_path / "made.npy")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        ours = read_pixels(str(path), settings) / 255
        np.testing.assert_allclose(ours, np.load(tmp_path / "made.npy"), atol=1 / 255)


def test_the_preset_has_the_published_size() -> None:
    preset = load_preset("dinov3-vits16")
    config = preset_config(preset)
    assert config.max_position_embeddings == preset.sequence_length == 201
    # Behind the last layer is a norm, which is the head here; the scales of layers are in their dense
    # layers, and holes are none.
    assert parameters(config) + 2 * 384 + 12 * 2 * 384 + 384 == 21_596_544
    assert preset.preprocessor is not None
    named = {"image_processor_type": "DINOv3ViTImageProcessorFast"}
    assert parse_preprocessor(named, config) == parse_preprocessor(preset.preprocessor, config)
