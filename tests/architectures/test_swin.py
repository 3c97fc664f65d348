"""What only Swin has: windows of an image, moved and filled up, stages, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import toy_images
from bars import Bars
from program import INSTALLED
from safetensors.numpy import load_file

from tfedge.architectures.parts import Windows
from tfedge.architectures.swin import SwinConfig, distances
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.errors import CheckpointError, InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config, preset_config, read_config
from tfedge.models.cost import flops, parameters
from tfedge.models.preprocessor import parse_preprocessor
from tfedge.models.windows import merged, parted, whole_of, windows_of
from tfedge.presets import load_preset
from tfedge.records import as_json

SWIN = cases.IMAGE_CONFIGS["swin"]
CUTS = {
    "whole": Windows((4, 6), 2, 0),
    "moved": Windows((4, 6), 2, 1),
    "filled up": Windows((5, 7), 3, 0),
    "both": Windows((5, 7), 4, 2),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_absolute_embeddings": True}, "use_absolute_embeddings is True, which no builder"),
        ({"qkv_bias": False}, "qkv_bias is False, which no builder supports"),
        ({"depths": 2}, "depths is 2; it must be a list of 1 to 8 whole numbers"),
        ({"depths": []}, "depths is .*; it must be a list"),
        ({"num_heads": [2, 0]}, "num_heads is .*; it must be a list"),
        (
            {"depths": [1, 1, 1]},
            "depths has 3 numbers and num_heads 2; both must have one for each",
        ),
        ({"num_heads": [2, 2]}, "make heads of 8, 16 channels; all stages must have heads of one"),
        ({"num_heads": [3, 6]}, "16 channels cannot be split into 3 attention heads"),
        ({"mlp_ratio": -1}, "mlp_ratio is -1; it must be a number above 0"),
        ({"window_size": 4}, "stage 1 of an image of 24 x 24 pixels has 3 x 3 tokens, fewer than"),
        ({"image_size": 25}, "cannot be cut into patches of 4 x 4"),
        ({"num_channels": 1}, "num_channels is 1, which no builder supports"),
        ({"model_type": "swinv2"}, "model_type 'swinv2', which is refused: its scores are cosines"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        parse_config({**SWIN, **changes})


def test_layers_are_not_cut() -> None:
    with pytest.raises(InputError, match="cannot be cut: its stages have widths and heads of"):
        parse_config(SWIN).architecture.named_parts()


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_windows_of_an_image(cut: Windows) -> None:
    """As numpy cuts them; and each comes back to its place."""
    height, width = cut.grid
    image = np.random.RandomState(0).randn(2, height, width, 3).astype(np.float32)
    down, across = cut.filled
    moved = np.pad(image, ((0, 0), (0, down - height), (0, across - width), (0, 0)))
    moved = np.roll(moved, (-cut.shift, -cut.shift), (1, 2))
    expected = [
        moved[:, row : row + cut.side, column : column + cut.side].reshape(2, -1, 3)
        for row in range(0, down, cut.side)
        for column in range(0, across, cut.side)
    ]
    tokens = image.reshape(2, -1, 1, 3)
    found = windows_of(tokens, cut)
    assert found.shape == (2 * cut.number, cut.side**2, 1, 3)
    np.testing.assert_array_equal(
        found[:, :, 0], np.stack(expected, axis=1).reshape(-1, *expected[0].shape[1:])
    )
    np.testing.assert_array_equal(whole_of(found, cut), tokens)


def test_what_comes_from_the_far_side_by_hand() -> None:
    """Of 4 x 4 tokens in windows of 2 x 2, moved by one: the first window is of one piece, the second
    of two columns, the third of two rows, and the last of four corners."""
    found = parted(Windows((4, 4), 2, 1))
    assert found.shape == (4, 4, 4)
    assert not found[0].any()
    left, top = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    np.testing.assert_array_equal(found[1], left[:, None] != left)
    np.testing.assert_array_equal(found[2], top[:, None] != top)
    np.testing.assert_array_equal(found[3], ~np.eye(4, dtype=bool))


def test_two_by_two_tokens_become_one_by_hand() -> None:
    tokens = np.arange(1.0, 7.0, dtype=np.float32).reshape(1, 6, 1)  # 2 x 3, the last column alone
    np.testing.assert_array_equal(merged(tokens, (2, 3))[0], [[1, 2, 4, 5], [3, 0, 6, 0]])


def test_numbers_of_a_window_of_two_by_two_by_hand() -> None:
    assert distances(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def test_stages_and_images_of_another_size(tmp_path: Path) -> None:
    """As published for 384 x 384 pixels: windows of 12; the sizes of the preprocessor count."""
    config = parse_config({**SWIN, "image_size": 384, "window_size": 12, "depths": [2, 3]})
    assert isinstance(config, SwinConfig)
    assert (config.grid(0), config.grid(1), config.width(0)) == ((96, 96), (48, 48), 16)
    assert [config.cut(layer).shift for layer in range(5)] == [0, 6, 0, 6, 0]
    assert [config.stage(layer) for layer in (1, 2, 4)] == [(0, 1), (1, 0), (1, 2)]
    cases.random_checkpoint(tmp_path, {**SWIN, "pictures": 48}, cases.IMAGES, 1, 5)
    read = read_config(tmp_path)
    assert isinstance(read, SwinConfig)
    assert (read.image_size, read.max_position_embeddings, read.grid(1)) == ((48, 48), 144, (6, 6))
    assert read.cut(1).shift == 1
    cases.write_preprocessor(tmp_path, {**SWIN, "pictures": 16})
    with pytest.raises(CheckpointError, match=r"stage 1 .* has 2 x 2 tokens"):
        read_config(tmp_path)


def test_tables_and_orders_come_back_as_they_were(tmp_path: Path) -> None:
    tensors = cases.random_checkpoint(tmp_path, SWIN, cases.IMAGES, 1, 5)
    table = "swin.encoder.layers.0.blocks.1.attention.self.relative_position_bias_table"
    # What older files have beside, and pretraining leaves.
    extra = {table.replace("bias_table", "index"): np.zeros((9, 9), np.int64)}
    extra["swin.embeddings.mask_token"] = np.ones((1, 1, 16), np.float32)
    cases.write_checkpoint(tmp_path, cases.hf_config(SWIN, cases.IMAGES, 5), tensors | extra)
    checkpoint = Checkpoint(tmp_path)
    model = build(checkpoint.config, cases.IMAGES, 5).model
    assert load_weights(model, checkpoint, cases.IMAGES) == []
    layer = model.get_layer("encoder.layer.1.attention.self.relative_position_bias_table")
    # Of the second head, from the middle of a window to its right neighbour.
    assert layer.embeddings.numpy().reshape(2, 9, 9)[1, 4, 5] == tensors[table][2 * 5 + 1, 1]
    save_checkpoint(model, checkpoint.config, cases.IMAGES, tmp_path / "back")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


def test_all_integers_and_right_in_every_runtime(tmp_path: Path) -> None:
    source = toy_images.write_folder(tmp_path / "swin", "swin")
    options = ConvertOptions(
        calibration=str(toy_images.write_images(tmp_path / "images", 18)),
        evaluation=str(toy_images.write_images(tmp_path / "dev", 18, seed=1)),
        output=tmp_path / "out",
    )
    report = as_json(convert(str(source), options, Bars()))
    assert report["quantization"]["float_operators"] == 0
    assert 0 < report["float32_tflite_error"] < 1e-4
    assert report["sequence_length"] == 36
    figures = report["evaluation"]["runtimes"]
    assert tuple(figures) == INSTALLED
    for found in figures.values():
        assert found["float_accuracy"] > 0.9
        assert found["disagreement"] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["int8", "dynamic"])
def test_windows_as_large_as_published(tmp_path: Path, quantization: str) -> None:
    """Windows of 7 x 7 tokens and heads of 32 channels, two stages, on 60 drawings."""
    sizes = {"embed_dim": 32, "depths": [2, 2], "num_heads": [1, 2], "window_size": 7}
    sizes |= {"image_size": 56, "layer_norm_eps": 1e-5, "mlp_ratio": 4.0}
    source = toy_images.write_folder(tmp_path / "swin", "swin", side=56, **sizes)
    options = ConvertOptions(
        calibration=str(toy_images.write_images(tmp_path / "images", 24, side=56)),
        evaluation=str(toy_images.write_images(tmp_path / "dev", 60, seed=1, side=56)),
        quantization=quantization,
        output=tmp_path / "out",
    )
    report = as_json(convert(str(source), options, Bars()))
    assert 0 < report["float32_tflite_error"] < 1e-4
    for found in report["evaluation"]["runtimes"].values():
        assert found["float_accuracy"] > 0.9
        assert found["disagreement"] < 0.1


def test_the_preset_has_the_published_size() -> None:
    preset = load_preset("swin-tiny-patch4-window7-224")
    config = preset_config(preset)
    assert config.max_position_embeddings == preset.sequence_length == 56 * 56
    # With the last norm and a classifier of 1,000; 4.5 billion multiply-accumulates in the paper.
    assert parameters(config) + 2 * 768 + 769_000 == 28_288_354
    assert flops(config, preset.sequence_length) / 2e9 == pytest.approx(4.5, abs=0.02)
    assert preset.preprocessor is not None
    assert parse_preprocessor(preset.preprocessor, config).resample == "bicubic"


@pytest.mark.parametrize("name", ["swin", "swin-wide"])
def test_parameters_are_those_of_the_built_model(name: str) -> None:
    """But for tables, which are spread over all queries and keys there."""
    source = cases.IMAGE_CONFIGS[name]
    config = parse_config(source)
    counted = sum(
        int(np.prod(shape)) for shape in cases.tensor_shapes(source, cases.FEATURES).values()
    )
    assert parameters(config) + 2 * config.hidden_size == counted
