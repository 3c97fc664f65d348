"""What is only YOLOS': keys, sizes, and where its places and tokens stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest

from tfedge.architectures.yolos import YolosConfig
from tfedge.errors import CheckpointError, InputError
from tfedge.models.config import parse_config, preset_config
from tfedge.models.stored import Checkpoint
from tfedge.presets import load_preset
from tfedge.tasks import task_and_labels

PLAIN, MID = (cases.DETECTION_CONFIGS[name] for name in ("yolos", "yolos-larger"))
POSITIONS = "embeddings.position_embeddings"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qkv_bias": False}, "qkv_bias is False, which no builder supports"),
        ({"num_channels": 1}, "num_channels is 1"),
        ({"patch_size": [8, 8]}, r"patch_size is \[8, 8\]; it must be a whole number"),
        ({"image_size": [4, 32]}, "an image of 4 x 32 pixels has no patch of 8 x 8"),
        ({"num_detection_tokens": 0}, "num_detection_tokens is 0"),
        ({"use_mid_position_embeddings": 1}, "it must be true or false"),
        ({"use_mid_position_embeddings": True, "image_size": [28, 36]}, "have parts of patches"),
    ],
)
def test_what_the_graph_does_not_compute(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_config({**PLAIN, **change})


def test_sizes() -> None:
    config = parse_config({**PLAIN, "image_size": [28, 37]})
    assert isinstance(config, YolosConfig)
    assert (config.grid, config.image_size) == ((3, 4), (24, 32))  # the rest is cut off
    assert (config.max_position_embeddings, config.rows_read) == (5 + 1 + 12, 5)
    larger = config.architecture.for_images(config, (32, 40))
    assert (larger.max_position_embeddings, larger.rows_read) == (5 + 1 + 20, 5)
    with pytest.raises(CheckpointError, match="30 x 40 pixels cannot be cut into patches"):
        config.architecture.for_images(config, (30, 40))


def test_the_preset_is_of_pictures_of_the_usual_shape() -> None:
    preset = load_preset("yolos-tiny")
    config = preset_config(preset)
    assert isinstance(config, YolosConfig)
    assert config.image_size == (512, 672)
    assert preset.sequence_length == config.max_position_embeddings == 32 * 42 + 101


def test_tokens_that_find_objects_stand_first(tmp_path: Path) -> None:
    """And all that images have in common is one table; stored again, it is as it was."""
    tensors = cases.random_checkpoint(tmp_path, PLAIN, cases.OBJECTS, 1, 3)
    checkpoint = Checkpoint(tmp_path)
    config, table = checkpoint.config, tensors[f"vit.{POSITIONS}"][0]
    found = checkpoint.read(POSITIONS)[0]
    np.testing.assert_array_equal(
        found[:5], table[13:] + tensors["vit.embeddings.detection_tokens"][0]
    )
    np.testing.assert_array_equal(found[5], table[0] + tensors["vit.embeddings.cls_token"][0, 0])
    np.testing.assert_array_equal(found[6:], table[1:13])
    stored = config.architecture.stored(config, POSITIONS, found[np.newaxis])
    np.testing.assert_array_equal(stored[0, 1:13], table[1:13])
    np.testing.assert_array_equal(stored[0, 13:], found[:5])
    assert task_and_labels(checkpoint) == ("object-detection", ["LABEL_0", "LABEL_1", "LABEL_2"])
    with pytest.raises(InputError, match="a yolos is for object-detection alone"):
        parse_task(checkpoint)


def parse_task(checkpoint: Checkpoint) -> None:
    from tfedge import tasks

    tasks.find("image-feature-extraction").check(checkpoint.config)


def test_places_between_layers_are_parts_of_one_tensor(tmp_path: Path) -> None:
    tensors = cases.random_checkpoint(tmp_path, MID, cases.OBJECTS, 1, 3)
    checkpoint = Checkpoint(tmp_path)
    config, architecture = checkpoint.config, checkpoint.config.architecture
    name = "encoder.mid_position_embeddings"
    whole = tensors[f"vit.{name}"]
    assert whole.shape == (2, 1, 21, 32)  # of 5 x 3 patches; 3 x 4 come
    assert checkpoint.shape(name) == (2 * 18, 32)
    own = "encoder.interpolation.1.weight"
    assert architecture.tensor_name(config, own) == name
    assert architecture.part_of_tensor(config, own) == (1, 2)
    second = np.split(checkpoint.read(name), 2)[1]
    np.testing.assert_array_equal(second[:5], whole[1, 0, -5:])
    assert architecture.stored(config, name, second).shape == (1, 1, 18, 32)
