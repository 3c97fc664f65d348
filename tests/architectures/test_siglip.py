"""What only SigLIP has: a head that attends by one learned query, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
from safetensors.numpy import load_file

from tfedge.errors import CheckpointError, InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config, preset_config
from tfedge.models.cost import parameters
from tfedge.models.preprocessor import parse_preprocessor
from tfedge.presets import load_preset
from tfedge.tasks import task_and_labels

SIGLIP = cases.parse("siglip.features")[0]


def with_vision(**changes: Any) -> dict[str, Any]:
    return {**SIGLIP, "vision_config": {**SIGLIP["vision_config"], **changes}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**SIGLIP, "vision_config": 3}, "vision_config is 3; it must be an object"),
        (with_vision(patch_size=13), "cannot be cut into patches of 13 x 13"),
        (with_vision(vision_use_head=False), "vision_use_head is False, which no builder supports"),
        (with_vision(hidden_act="gelu_10"), "hidden_act is 'gelu_10'; supported are"),
        ({"model_type": "siglip2"}, "refused: images of any shape"),
    ],
)
def test_what_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_config(config)


def test_it_is_for_features_alone(tmp_path: Path) -> None:
    cases.random_checkpoint(tmp_path, SIGLIP, cases.FEATURES, 1)
    checkpoint = Checkpoint(tmp_path)
    assert task_and_labels(checkpoint) == (cases.FEATURES, [])
    with pytest.raises(InputError, match="a siglip is for image-feature-extraction alone"):
        build(checkpoint.config, cases.IMAGES, 2)


def test_what_is_written_gives_the_same(tmp_path: Path) -> None:
    cases.random_checkpoint(tmp_path / "a", SIGLIP, cases.FEATURES, 1)
    inputs = {"pixel_values": np.moveaxis(cases.batch(SIGLIP)["pixel_values"], 1, -1)}
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        checkpoint = Checkpoint(folder)
        model = build(checkpoint.config, cases.FEATURES).model
        assert load_weights(model, checkpoint, cases.FEATURES) == []
        found.append(model(inputs)["embedding"])
        save_checkpoint(model, checkpoint.config, cases.FEATURES, tmp_path / "b")
    np.testing.assert_array_equal(*found)
    # The query and the keys have become what they are read by.
    names = load_file(tmp_path / "b/model.safetensors")
    assert names["head.attention.scores.weight"].shape == (4, 32)
    assert "head.probe" not in names


def test_the_preset_has_the_published_size() -> None:
    preset = load_preset("siglip-base-patch16-224")
    config = preset_config(preset)
    assert config.max_position_embeddings == preset.sequence_length == 196
    # The last norm and the head of a SiglipVisionModel are the head here.
    assert parameters(config) + 2 * 768 + 7_087_104 == 92_884_224
    assert preset.preprocessor is not None
    settings = parse_preprocessor(preset.preprocessor, config)
    named = {"image_processor_type": "SiglipImageProcessor"}
    assert parse_preprocessor(named, config) == settings
