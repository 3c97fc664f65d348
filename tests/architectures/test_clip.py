"""What only CLIP has: a tower of two, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cases
import pytest

from tfedge.errors import CheckpointError, InputError
from tfedge.models.checkpoint import Checkpoint
from tfedge.models.config import parse_config, preset_config
from tfedge.models.cost import parameters
from tfedge.models.preprocessor import read_preprocessor
from tfedge.presets import load_preset
from tfedge.tasks import task_and_labels

CLIP = cases.parse("clip.features")[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_config": 3}, "vision_config is 3; it must be an object"),
        ({"vision_config": {"patch_size": 13}}, "cannot be cut into patches of 13 x 13"),
        ({"projection_dim": 0}, "projection_dim is 0; it must be a whole number"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_config({**CLIP, **changes})


def test_it_is_for_features_alone(tmp_path: Path) -> None:
    cases.random_checkpoint(tmp_path, CLIP, cases.FEATURES, 1)
    checkpoint = Checkpoint(tmp_path)
    assert task_and_labels(checkpoint) == (cases.FEATURES, [])
    from tfedge.models.build import build

    with pytest.raises(InputError, match="a clip is for image-feature-extraction alone"):
        build(checkpoint.config, cases.IMAGES, 2)


def test_one_number_is_the_shorter_side_as_openai_wrote_it(tmp_path: Path) -> None:
    text = '{"feature_extractor_type": "CLIPFeatureExtractor", "size": 24, "crop_size": 24}'
    (tmp_path / "preprocessor_config.json").write_text(text)
    settings = read_preprocessor(tmp_path, parse_config(CLIP))
    assert (settings.shape, settings.resize, settings.resample) == ((24, 24, 3), (24,), "bicubic")


def test_the_preset_has_the_published_size() -> None:
    preset = load_preset("clip-vit-base-patch32")
    config = preset_config(preset)
    assert config.max_position_embeddings == preset.sequence_length == 50
    # The last norm and the projection of a CLIPVisionModelWithProjection are the head here.
    assert parameters(config) + 2 * 768 + 768 * 512 == 87_849_216
