"""XLM-RoBERTa, CamemBERT, and BERTs with XLM-RoBERTa's tokeniser: what each has of its own.

That they agree with torch is in tests/models/test_parity.py, and their tokenisers are in
tests/data/test_unigram.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import toy_folders
import unigram
from conversions import assert_int8_agrees
from safetensors.numpy import load_file, save_file
from test_pooling import MEAN_ONLY, write_modules

from tfedge.errors import CheckpointError
from tfedge.models import cost
from tfedge.models.build import build, input_names
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config
from tfedge.presets import load_preset
from tfedge.tasks import task_and_labels

CLASSIFICATION, SPANS, EMBEDDING = (
    "text-classification",
    "question-answering",
    "sentence-embedding",
)
KIN = ("xlm-roberta", "camembert")
SPECIAL = {"xlm-roberta": unigram.SPECIAL, "camembert": unigram.CAMEMBERT, "bert": unigram.SPECIAL}
CLASSES = {"xlm-roberta": "XLMRoberta", "camembert": "Camembert", "bert": "XLMRoberta"}


def write_folder(folder: Path, architecture: str, task: str, **changes: Any) -> Path:
    """A toy with a Unigram tokeniser."""
    changes = {"vocab_size": unigram.SIZE, "num_hidden_layers": 1, **changes}
    toy_folders.write_folder(folder, architecture, task, **changes)
    return unigram.write(folder, SPECIAL[architecture], CLASSES[architecture])


@pytest.mark.parametrize("family", KIN)
def test_positions_begin_behind_the_padding(family: str) -> None:
    source = cases.CONFIGS[family]
    config = parse_config(source)
    assert (config.first_position, config.max_position_embeddings) == (2, 18)
    assert input_names(config) == ("input_ids", "attention_mask")
    assert config.architecture.padding_id(config) == 1
    for padding in (-1, 0, 19, "1"):
        with pytest.raises(CheckpointError, match="pad_token_id is"):
            parse_config({**source, "pad_token_id": padding})
    with pytest.raises(CheckpointError, match="position_embedding_type is 'relative_key'"):
        parse_config({**source, "position_embedding_type": "relative_key"})
    with pytest.raises(CheckpointError, match="type_vocab_size is None"):
        parse_config({key: value for key, value in source.items() if key != "type_vocab_size"})


@pytest.mark.parametrize("task", [CLASSIFICATION, "token-classification", SPANS, EMBEDDING])
@pytest.mark.parametrize("family", KIN)
def test_heads_are_told_apart_and_written_back(tmp_path: Path, family: str, task: str) -> None:
    original = cases.random_checkpoint(tmp_path / "a", cases.CONFIGS[family], task, 4)
    assert any(name.startswith("roberta.") for name in original) == (task != EMBEDDING)
    checkpoint = Checkpoint(tmp_path / "a")
    found, labels = task_and_labels(checkpoint)
    assert found == task
    model = build(checkpoint.config, task, len(labels)).model
    assert load_weights(model, checkpoint, task) == []
    save_checkpoint(model, checkpoint.config, task, tmp_path / "b", labels)
    written = json.loads((tmp_path / "b" / "config.json").read_text())
    assert written["architectures"] == cases.hf_config(cases.CONFIGS[family], task)["architectures"]
    copied = load_file(tmp_path / "b" / "model.safetensors")
    assert copied.keys() == original.keys()
    assert all(np.array_equal(copied[name], value) for name, value in original.items())


@pytest.mark.parametrize("prefix", ["roberta.", ""])
@pytest.mark.parametrize("family", KIN)
def test_what_pretraining_leaves_is_an_encoder(tmp_path: Path, family: str, prefix: str) -> None:
    """As published: `roberta.` before all names, and the head of masked words."""
    bare = cases.random_checkpoint(tmp_path, cases.CONFIGS[family], EMBEDDING, 5)
    tensors = {prefix + name: value for name, value in bare.items()}
    tensors |= {"lm_head.dense.weight": np.ones((32, 32), np.float32)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = cases.hf_config(cases.CONFIGS[family], EMBEDDING)
    named = config["architectures"][0].replace("Model", "ForMaskedLM")
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": [named]}))
    checkpoint = Checkpoint(tmp_path)
    assert task_and_labels(checkpoint) == ("fill-mask", [])
    assert task_and_labels(checkpoint, EMBEDDING) == (EMBEDDING, [])
    assert load_weights(build(checkpoint.config, EMBEDDING).model, checkpoint, EMBEDDING) == []


def test_another_prefix_is_not_read(tmp_path: Path) -> None:
    bare = cases.random_checkpoint(tmp_path, cases.CONFIGS["xlm-roberta"], EMBEDDING, 5)
    tensors = {f"xlm-roberta.{name}": value for name, value in bare.items()}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = Checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"missing: embeddings\.word_embeddings"):
        load_weights(build(checkpoint.config, EMBEDDING).model, checkpoint, EMBEDDING)


# With the pooler: HF's count of the published models.
@pytest.mark.parametrize(
    ("preset", "parameters", "positions"),
    [
        ("xlm-roberta-base", 278_043_648, 512),
        ("camembert-base", 110_621_952, 512),
        ("distilroberta-base", 82_118_400, 512),
        ("multilingual-minilm", 117_653_760, 512),
    ],
)
def test_the_published_size(preset: str, parameters: int, positions: int) -> None:
    config = parse_config(load_preset(preset).config)
    assert config.max_position_embeddings == positions
    assert cost.parameters(config, pooler=True) == parameters
    # Words cost memory, not time.
    fewer = parse_config({**load_preset(preset).config, "vocab_size": 1000})
    assert cost.flops(config, 128) == cost.flops(fewer, 128)


@pytest.mark.parametrize("family", KIN)
def test_parameters_are_those_of_the_built_model(family: str) -> None:
    config = parse_config(cases.CONFIGS[family])
    assert cost.parameters(config) == build(config, EMBEDDING).model.count_params()


@pytest.mark.parametrize(
    ("family", "task"),
    [pytest.param("xlm-roberta", CLASSIFICATION, marks=pytest.mark.slow), ("camembert", EMBEDDING)],
)
def test_int8_agrees_in_both_runtimes(tmp_path: Path, family: str, task: str) -> None:
    buckets = (8,) if task == CLASSIFICATION else ()
    assert_int8_agrees(write_folder(tmp_path / "toy", family, task), tmp_path, buckets)


def test_a_multilingual_minilm_converts_as_a_folder_of_sentence_transformers(
    tmp_path: Path,
) -> None:
    """As paraphrase-multilingual-MiniLM-L12-v2 is published: a BERT of two types whose configuration
    says that padding is 0, a Unigram in which it is 1, and settings of Bert's tokeniser."""
    root = write_modules(tmp_path / "st", "Transformer", "Pooling", pooling=MEAN_ONLY)
    write_folder(root, "bert", EMBEDDING, pad_token_id=0)
    settings = json.loads((root / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (root / "tokenizer_config.json").write_text(json.dumps(settings))
    (root / "sentence_bert_config.json").write_text(
        '{"max_seq_length": 16, "do_lower_case": false}'
    )
    assert input_names(Checkpoint(root).config)[-1] == "token_type_ids"
    assert task_and_labels(Checkpoint(root))[0] == EMBEDDING
    assert_int8_agrees(root, tmp_path)
