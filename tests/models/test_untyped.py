"""Configurations without `model_type`, as those of early BERTs."""

from __future__ import annotations

import json
from pathlib import Path

import cases
import numpy as np
import pytest
import toys
from safetensors.numpy import save_file

from tfedge.data.tokenizer import encode, load_tokenizer
from tfedge.errors import CheckpointError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import read_config

CLASSIFICATION = "text-classification"
# Those that name no class are told by their weights.
TOLD = ("bert", "distilbert", "mobilebert", "mpnet")


def write(folder: Path, architecture: str, named: bool) -> Path:
    """A classifier without `model_type`, with or without a class."""
    config = cases.CONFIGS[architecture]
    cases.random_checkpoint(folder, config, CLASSIFICATION, seed=1)
    left_out = {"model_type"} if named else {"model_type", "architectures"}
    content = cases.hf_config(config, CLASSIFICATION).items()
    kept = {key: value for key, value in content if key not in left_out}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_the_class_tells_it(tmp_path: Path, family: str) -> None:
    assert read_config(write(tmp_path, family, named=True)).model_type == family


@pytest.mark.parametrize("family", TOLD)
def test_the_weights_tell_it(tmp_path: Path, family: str) -> None:
    assert read_config(write(tmp_path, family, named=False)).model_type == family


def test_what_is_exported_says_it(tmp_path: Path) -> None:
    checkpoint = Checkpoint(write(tmp_path / "a", "bert", named=False))
    model = build(checkpoint.config, CLASSIFICATION).model
    assert load_weights(model, checkpoint, CLASSIFICATION) == []
    save_checkpoint(model, checkpoint.config, CLASSIFICATION, tmp_path / "b")
    assert json.loads((tmp_path / "b/config.json").read_text())["model_type"] == "bert"


def test_what_nothing_tells_is_asked_for(tmp_path: Path) -> None:
    for family in ("roberta", "camembert"):  # whose weights are called alike
        with pytest.raises(
            CheckpointError, match=r"model_type None; supported.*: write it there"
        ) as e:
            read_config(write(tmp_path / family, family, named=False))
        assert "\n" not in str(e.value)
    bare = write(tmp_path / "bare", "bert", named=False)
    save_file({"a": np.zeros(1, np.float32)}, bare / "model.safetensors")
    with pytest.raises(CheckpointError, match="model_type None"):
        read_config(bare)
    (bare / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="model_type None"):
        read_config(bare)


def test_a_class_that_only_begins_alike_is_not_meant(tmp_path: Path) -> None:
    folder = write(tmp_path, "roberta", named=True)
    content = json.loads((folder / "config.json").read_text())
    content["architectures"] = ["RobertaPreLayerNormForMaskedLM"]
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="model_type None"):
        read_config(folder)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("name", ["early", "my-roberta"])
def test_its_vocabulary_is_read(tmp_path: Path, name: str, named: bool) -> None:
    """transformers would go by the folder's name."""
    folder = write(tmp_path / name, "bert", named)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in toys.VOCABULARY))
    (ids,) = encode(load_tokenizer(folder), ["Good film"], 16)
    assert [toys.VOCABULARY[index] for index in ids] == ["[CLS]", "good", "film", "[SEP]"]
