"""What only DINOv2 has: scales of layers, positions of other images, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from tfedge.architectures.resampling import resampled
from tfedge.errors import CheckpointError
from tfedge.models.checkpoint import Checkpoint
from tfedge.models.config import parse_config, preset_config
from tfedge.models.cost import parameters
from tfedge.presets import load_preset

DINOV2 = cases.IMAGE_CONFIGS["dinov2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_swiglu_ffn": True}, "use_swiglu_ffn is True, which no builder supports"),
        ({"mlp_ratio": 2.5}, "mlp_ratio is 2.5; it must be a whole number"),
        ({"image_size": 25}, "an image of 25 x 25 pixels cannot be cut into patches of 8 x 8"),
        ({"qkv_bias": False}, "qkv_bias is False"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_config({**DINOV2, **changes})


def test_scales_go_into_the_dense_layers_before(tmp_path: Path) -> None:
    tensors = cases.random_checkpoint(tmp_path, DINOV2, cases.FEATURES, 1)
    checkpoint = Checkpoint(tmp_path)
    layer = "encoder.layer.0"
    scale = tensors[f"{layer}.layer_scale2.lambda1"]
    for part, factor in (("weight", scale[:, None]), ("bias", scale)):
        name = f"{layer}.mlp.fc2.{part}"
        np.testing.assert_allclose(checkpoint.read(name), tensors[name] * factor, rtol=1e-6)
    assert not any("layer_scale" in name for name in checkpoint.names)


def test_a_table_of_no_square_is_refused(tmp_path: Path) -> None:
    config = cases.IMAGE_CONFIGS["dinov2-larger"]
    tensors = cases.random_checkpoint(tmp_path, config, cases.FEATURES, 1)
    name = "embeddings.position_embeddings"
    tensors[name] = tensors[name][:, :-1]
    cases.write_checkpoint(tmp_path, cases.hf_config(config, cases.FEATURES), tensors)
    with pytest.raises(CheckpointError, match="has 24 rows of patches, which are no square"):
        Checkpoint(tmp_path).read(name)


def test_constants_and_sizes_stay_whatever_the_sides() -> None:
    for antialias in (False, True):
        found = resampled(np.full((5, 5, 2), 3.0, np.float32), (7, 2), antialias)
        np.testing.assert_allclose(found, 3.0, rtol=1e-6)
        table = np.random.default_rng(0).normal(size=(4, 4, 3)).astype(np.float32)
        np.testing.assert_allclose(resampled(table, (4, 4), antialias), table, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "tokens", "published"),
    [
        ("dinov2-small", 257, 22_056_576),
        ("dinov2-small-registers", 261, 22_058_112),
        ("dinov2-base", 257, 86_580_480),
    ],
)
def test_presets_have_the_published_sizes(name: str, tokens: int, published: int) -> None:
    preset = load_preset(name)
    config = preset_config(preset)
    assert config.max_position_embeddings == preset.sequence_length == tokens
    # Published are positions of 518 x 518 pixels and none of registers, the scales of 12 layers, a mask
    # and, in the head here, the last norm.
    rows = 37 * 37 + 1 - tokens + 2 * 12 + 1 + 2
    assert parameters(config) + rows * config.hidden_size == published
