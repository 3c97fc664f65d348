"""Encoders of published sizes, with random weights, give what torch gives."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path

import cases
import numpy as np
import pytest
from test_parity import TOLERANCE, answers, largest_difference, load, run_reference, torch_python

from tfedge.presets import load_preset

pytestmark = [pytest.mark.torch, pytest.mark.slow]
EMBEDDING = "sentence-embedding"
# What is added to a residual stream that no norm divides.
_ADDED = (
    ".Wo.weight",
    "self_attn.out_proj.weight",
    "mlp.fc2.weight",
    "output.dense.weight",
    "o_proj.weight",
    "down_proj.weight",
)


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that keep the size of what they multiply; float32 at once, as a table may have 0.8 GB."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    noise = random.standard_normal(shape, dtype=np.float32)
    if len(shape) < 2:
        return 0.05 * noise + np.float32(name.lower().endswith("norm.weight"))
    if "embeddings" in name:
        return noise if "word" in name else 0.3 * noise
    # Where no norm divides the residual stream, all that is added up would make it large, as
    # ModernBERT's own initialisation has it not.
    added = 0.15 if name.endswith(_ADDED) else 1.0
    return noise * np.float32(added * 1.4 / math.prod(shape[1:]) ** 0.5)


@pytest.mark.parametrize(
    "preset",
    [
        "distilroberta-base",
        "camembert-base",
        "xlm-roberta-base",
        "multilingual-minilm",
        "electra-small",
        "albert-base-v2",
        "modernbert-base",
        "deberta-v3-small",
        "roformer-chinese-base",
    ],
)
def test_published_sizes_agree_with_torch(
    tmp_path: Path, preset: str, record_parity: Callable[[str, float], None]
) -> None:
    python = torch_python()
    config = dict(load_preset(preset).config)
    if "local_attention" in config:
        config["local_attention"] = 8  # a window that the batch's 12 tokens are more than
    if config["model_type"] == "deberta-v2":
        # transformers makes zeros of the words of padding, which nobody reads; `cases` leaves out what
        # comes of it where it tells padding by its token.
        config["pad_token_id"] = 1
    shapes = cases.tensor_shapes(config, EMBEDDING)
    tensors = {name: tensor(name, shape) for name, shape in shapes.items()}
    cases.settle(config, tensors)
    cases.write_checkpoint(tmp_path, cases.hf_config(config, EMBEDDING), tensors)
    del tensors
    batch = cases.batch(config)
    np.savez(tmp_path / "batch.npz", **batch)
    run_reference(python, "run", tmp_path)
    ours = answers(load(tmp_path, EMBEDDING)[1], batch)
    (tmp_path / "model.safetensors").unlink()  # pytest keeps the folders of three runs
    error = largest_difference(ours, dict(np.load(tmp_path / "reference.npz")))
    record_parity(preset, error)
    assert error < TOLERANCE


@pytest.mark.parametrize(
    ("preset", "task"),
    [
        ("siglip-base-patch16-224", cases.FEATURES),
        ("beit-base-patch16-224", cases.IMAGES),
        ("dinov3-vits16", cases.FEATURES),
        ("swin-tiny-patch4-window7-224", cases.IMAGES),
        ("yolos-tiny", cases.OBJECTS),
    ],
)
def test_published_sizes_of_images_agree_with_torch(
    tmp_path: Path, preset: str, task: str, record_parity: Callable[[str, float], None]
) -> None:
    python = torch_python()
    config = dict(load_preset(preset).config)
    if "vision_config" in config:  # of whose texts nothing is asked
        config["text_config"] = cases.parse("siglip.features")[0]["text_config"]
    if task == cases.OBJECTS:
        config["pictures"] = [512, 672]  # to which positions of 800 x 1333 are brought
    shapes = cases.tensor_shapes(config, task, 5)
    tensors = {name: tensor(name, shape) for name, shape in shapes.items()}
    cases.write_checkpoint(tmp_path, cases.hf_config(config, task, 5), tensors)
    cases.write_preprocessor(tmp_path, config)
    del tensors
    batch = {name: value[:2] for name, value in cases.batch(config).items()}
    np.savez(tmp_path / "batch.npz", **batch)
    run_reference(python, "run", tmp_path)
    ours = answers(load(tmp_path, task)[1], batch)
    (tmp_path / "model.safetensors").unlink()
    error = largest_difference(ours, dict(np.load(tmp_path / "reference.npz")))
    record_parity(preset, error)
    assert error < TOLERANCE
