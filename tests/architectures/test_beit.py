"""What only BEiT has: what its scores know of places, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from tfedge.architectures.beit import _index
from tfedge.errors import CheckpointError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.config import parse_config, preset_config
from tfedge.models.cost import parameters
from tfedge.models.preprocessor import parse_preprocessor
from tfedge.presets import load_preset

BEIT = cases.IMAGE_CONFIGS["beit"]
TABLE = "beit.encoder.layer.0.attention.attention.relative_position_bias"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_mean_pooling": False}, "use_mean_pooling is False, which no builder supports"),
        ({"use_shared_relative_position_bias": True}, "use_shared_relative_position_bias is True"),
        ({"image_size": [16, 24]}, "image_size is 16 x 24, .* both must be squares"),
        ({"patch_size": [8, 4]}, "patch_size 8 x 4; .* both must be squares"),
        ({"use_relative_position_bias": 1}, "use_relative_position_bias is 1; it must be true or"),
        ({"layer_scale_init_value": -1}, "layer_scale_init_value is -1"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_config({**BEIT, **changes})


def test_numbers_of_two_by_two_patches() -> None:
    """By hand: 9 distances down and across, then the first token's with patches, theirs with it, and
    its own."""
    assert _index(2).tolist() == [
        [11, 9, 9, 9, 9],
        [10, 4, 3, 1, 0],
        [10, 5, 4, 2, 1],
        [10, 7, 6, 4, 3],
        [10, 8, 7, 5, 4],
    ]


def test_scales_and_distances_become_constants(tmp_path: Path) -> None:
    tensors = cases.random_checkpoint(tmp_path, BEIT, cases.IMAGES, 1, 5)
    # What older files have beside, and pretraining leaves.
    tensors[f"{TABLE}.relative_position_index"] = np.zeros((10, 10), np.int64)
    tensors["beit.embeddings.mask_token"] = np.ones((1, 1, 32), np.float32)
    cases.write_checkpoint(tmp_path, cases.hf_config(BEIT, cases.IMAGES, 5), tensors)
    checkpoint = Checkpoint(tmp_path)
    model = build(checkpoint.config, cases.IMAGES, 5).model
    assert load_weights(model, checkpoint, cases.IMAGES) == []
    layer = "beit.encoder.layer.0"
    kernel = tensors[f"{layer}.output.dense.weight"] * tensors[f"{layer}.lambda_2"][:, None]
    found = model.get_layer("encoder.layer.0.output.dense").kernel.numpy()
    np.testing.assert_allclose(found.T, kernel, rtol=1e-6)
    bias = model.get_layer("encoder.layer.0.attention.attention.relative_position_bias")
    table = tensors[f"{TABLE}.relative_position_bias_table"]
    # Of the second head, from the first patch to the one below on the right: a distance of -1 each.
    spread = bias.embeddings.numpy().reshape(4, 10, 10)
    assert spread[1, 1, 5] == table[1 * 5 + 1, 1]
    assert spread[2, 0, 0] == table[-1, 2]


def test_the_preset_has_the_published_size() -> None:
    preset = load_preset("beit-base-patch16-224")
    config = preset_config(preset)
    assert config.max_position_embeddings == preset.sequence_length == 197
    # What is behind the last layer is the head here, a norm and a classifier of 1,000; and scales of
    # layers are in their dense layers.
    assert parameters(config) + 2 * 768 + 769_000 + 12 * 2 * 768 == 86_530_984
    assert preset.preprocessor is not None
    assert parse_preprocessor(preset.preprocessor, config).resample == "bilinear"
    named = parse_preprocessor({"image_processor_type": "BeitImageProcessor"}, config)
    assert (named.resample, named.resize) == ("bicubic", (224, 224))
