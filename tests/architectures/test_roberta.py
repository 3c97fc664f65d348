"""RoBERTa: what it has of its own; that it agrees with torch is in tests/models/test_parity.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import byte_level
import cases
import numpy as np
import pytest
import toy_folders
from conversions import assert_int8_agrees
from safetensors.numpy import load_file, save_file

from tfedge.errors import CheckpointError
from tfedge.models import cost
from tfedge.models.build import build, input_names
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config
from tfedge.presets import load_preset
from tfedge.runtime.tokenizer import TextEncoder
from tfedge.tasks import task_and_labels

CONFIG = cases.CONFIGS["roberta"]
CLASSIFICATION, SPANS, EMBEDDING = (
    "text-classification",
    "question-answering",
    "sentence-embedding",
)


def write_folder(folder: Path, task: str, **changes: Any) -> Path:
    """A toy with a byte-level tokeniser."""
    changes = {"vocab_size": byte_level.SIZE, "num_hidden_layers": 1, **changes}
    toy_folders.write_folder(folder, "roberta", task, **changes)
    (folder / "tokenizer.json").write_text(byte_level.tokenizer().to_str(), encoding="utf-8")
    return folder


def test_positions_begin_behind_the_padding() -> None:
    config = parse_config(CONFIG)
    assert config.max_position_embeddings == CONFIG["max_position_embeddings"] - 2
    model = build(config, EMBEDDING).model
    positions = model.get_layer("embeddings.position_embeddings")
    assert (positions.embeddings.shape[0], positions.first) == (20, 2)
    other = parse_config({**CONFIG, "pad_token_id": 4})
    assert other.max_position_embeddings == CONFIG["max_position_embeddings"] - 5


@pytest.mark.parametrize("padding", [-1, 0, 19, "1"])
def test_padding_without_positions_behind_it(padding: object) -> None:
    with pytest.raises(CheckpointError, match="pad_token_id is"):
        parse_config({**CONFIG, "pad_token_id": padding})


def test_one_type_of_tokens_is_no_input() -> None:
    assert input_names(parse_config(CONFIG)) == ("input_ids", "attention_mask")
    model = build(parse_config(CONFIG), SPANS).model
    assert model.get_layer("embeddings.token_type_embeddings").embeddings.shape == (1, 32)


@pytest.mark.parametrize("head", ["classes5", "tokens", "spans", "embedding"])
def test_padding_changes_no_answer(tmp_path: Path, head: str) -> None:
    config, task, num_labels = cases.parse(f"roberta.{head}")
    cases.random_checkpoint(tmp_path, config, task, 3, num_labels)
    checkpoint = Checkpoint(tmp_path)
    model = build(checkpoint.config, task, num_labels).model
    load_weights(model, checkpoint, task)
    inputs = cases.batch(config)
    together = model(inputs)
    # The board pads with <pad>, calibration with zeros: masked, so that neither is read.
    zeros = model({**inputs, "input_ids": inputs["input_ids"] * inputs["attention_mask"]})
    for row, length in enumerate(cases.LENGTHS):
        alone = model({name: value[row : row + 1, :length] for name, value in inputs.items()})
        for name, value in alone.items():
            is_per_token = together[name].shape[1] == cases.SEQUENCE_LENGTH
            for padded in (together[name][row], zeros[name][row]):
                shown = padded[:length] if is_per_token else padded
                np.testing.assert_allclose(shown, value[0], atol=1e-5)


@pytest.mark.parametrize("task", [CLASSIFICATION, "token-classification", SPANS, EMBEDDING])
def test_heads_are_told_apart_and_written_back(tmp_path: Path, task: str) -> None:
    original = cases.random_checkpoint(tmp_path / "a", CONFIG, task, 4)
    (tmp_path / "a" / "config.json").write_text(json.dumps(cases.hf_config(CONFIG, task)))
    checkpoint = Checkpoint(tmp_path / "a")
    found, labels = task_and_labels(checkpoint)
    assert found == task
    model = build(checkpoint.config, task, len(labels)).model
    assert load_weights(model, checkpoint, task) == []
    save_checkpoint(model, checkpoint.config, task, tmp_path / "b", labels)
    copied = load_file(tmp_path / "b" / "model.safetensors")
    assert copied.keys() == original.keys()
    assert all(np.array_equal(copied[name], value) for name, value in original.items())


def test_pretrained_weights_take_a_new_head(tmp_path: Path) -> None:
    tensors = cases.random_checkpoint(tmp_path, CONFIG, SPANS, 5)
    bare = {name: value for name, value in tensors.items() if name.startswith("roberta.")}
    bare["lm_head.dense.weight"] = bare["roberta.pooler.dense.weight"] = np.ones(
        (32, 32), np.float32
    )
    save_file(bare, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = Checkpoint(tmp_path)
    fresh = load_weights(
        build(checkpoint.config, CLASSIFICATION).model, checkpoint, CLASSIFICATION, new_head=True
    )
    parts = ("dense", "out_proj")
    assert sorted(fresh) == [
        f"classifier.{part}.{kind}" for part in parts for kind in ("bias", "weight")
    ]


def test_the_published_size() -> None:
    config = parse_config(load_preset("roberta-base").config)
    assert config.max_position_embeddings == 512
    # 125M (Liu et al. 2019, table 12; the model card): 50265 words, 514 positions, one type, pooler.
    assert cost.parameters(config, pooler=True) == 124_645_632
    bert = parse_config(load_preset("bert-base").config)
    assert cost.flops(config, 128) == cost.flops(bert, 128)  # tables cost nothing


def test_parameters_are_those_of_the_built_model() -> None:
    config = parse_config(CONFIG)
    assert cost.parameters(config) == build(config, EMBEDDING).model.count_params()
    classifier = build(config, CLASSIFICATION, num_labels=3).model.count_params()
    assert cost.parameters(config, pooler=True) + 3 * 33 == classifier


def test_the_board_encodes_pairs_with_two_separators() -> None:
    encoder = TextEncoder(byte_level.tokenizer().to_str().encode(), 16, pairs=True)
    encoded = encoder.encode("who was good", "ada was good")
    assert encoded.tokens[0] == "<s>" and encoded.tokens.count("</s>") == 3
    arrays = encoded.arrays(16)
    assert arrays["input_ids"][0, -1] == byte_level.SPECIAL.index("<pad>") == 1
    assert not arrays["token_type_ids"].any()


@pytest.mark.parametrize("task", [CLASSIFICATION, pytest.param(EMBEDDING, marks=pytest.mark.slow)])
def test_int8_agrees_in_both_runtimes(tmp_path: Path, task: str) -> None:
    buckets = (8,) if task == CLASSIFICATION else ()
    assert_int8_agrees(write_folder(tmp_path / "toy", task), tmp_path, buckets)
