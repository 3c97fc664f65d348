"""RoFormer: what it has of its own; that it agrees with torch is in tests/models/test_parity.py."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
import toy_folders
import toys
import transformers
from conversions import assert_int8_agrees
from safetensors.numpy import load_file, save_file

from tfedge.architectures.roformer import sinusoids
from tfedge.data import tokenizer as tokenizers
from tfedge.data.tokenizer import load_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models import cost
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config
from tfedge.presets import load_preset
from tfedge.quantize.prepare import Lowering, Shape
from tfedge.runtime.tokenizer import TextEncoder
from tfedge.tasks import task_and_labels

CONFIG, NARROW = cases.CONFIGS["roformer"], cases.CONFIGS["roformer-narrow"]
CLASSIFICATION, TOKENS, SPANS, EMBEDDING = (
    "text-classification",
    "token-classification",
    "question-answering",
    "sentence-embedding",
)
TABLE = "encoder.embed_positions.weight"
QUERY = "encoder.layer.1.attention.self.query"


def write_folder(folder: Path, task: str = CLASSIFICATION, **changes: Any) -> Path:
    return toy_folders.write_folder(folder, "roformer", task, **changes)


def loaded(folder: Path, task: str) -> tuple[Checkpoint, keras.Model]:
    checkpoint = Checkpoint(folder)
    model = build(checkpoint.config, task, 2).model
    load_weights(model, checkpoint, task)
    return checkpoint, model


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embedding_size", 0),
        ("rotary_value", True),
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("hidden_act", "tanh"),
    ],
)
def test_values_that_no_graph_computes_are_refused(key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: {key} is"):
        parse_config({**CONFIG, key: value})


def test_heads_without_pairs_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"heads of 3 channels .* have no pairs"):
        parse_config({**CONFIG, "hidden_size": 12})


def test_tables_are_as_wide_as_the_hidden_states_unless_told() -> None:
    for source in (CONFIG, {**CONFIG, "embedding_size": None}):
        model = build(parse_config(source), EMBEDDING).model
        assert model.get_layer("embeddings.word_embeddings").embeddings.shape == (60, 32)
        assert "embeddings_project" not in [layer.name for layer in model.layers]
    model = build(parse_config(NARROW), EMBEDDING).model
    assert model.get_layer("embeddings_project").kernel.shape == (24, 32)


def test_the_sinusoids_are_those_of_the_paper() -> None:
    """Su et al. 2021, section 3.2.2: the angle of pair i at position m is m * 10000 ** (-2 i / d)."""
    table = sinusoids(1536, 64)
    assert table.dtype == np.float32
    for row, pair in ((0, 0), (1, 0), (5, 3), (1535, 31), (1535, 0)):
        angle = row * 10_000 ** (-2 * pair / 64)
        assert table[row, pair] == pytest.approx(math.sin(angle), abs=1e-7)
        assert table[row, 32 + pair] == pytest.approx(math.cos(angle), abs=1e-7)


@pytest.mark.parametrize("task", [CLASSIFICATION, TOKENS, SPANS, EMBEDDING])
@pytest.mark.parametrize("config", [CONFIG, NARROW])
def test_heads_are_told_apart_and_written_back(
    tmp_path: Path, config: cases.Config, task: str
) -> None:
    original = cases.random_checkpoint(tmp_path / "a", config, task, 4)
    checkpoint, model = loaded(tmp_path / "a", task)
    found, labels = task_and_labels(checkpoint)
    assert found == task
    save_checkpoint(model, checkpoint.config, task, tmp_path / "b", labels)
    copied = load_file(tmp_path / "b" / "model.safetensors")
    assert copied.keys() == original.keys()
    table = next(name for name in original if name.endswith(TABLE))
    np.testing.assert_allclose(copied.pop(table), original[table], atol=1e-6)
    assert all(np.array_equal(value, original[name]) for name, value in copied.items())
    written = json.loads((tmp_path / "b" / "config.json").read_text())
    assert written["architectures"] == [f"RoFormer{cases.CLASS_SUFFIXES[task]}"]


def test_pairs_of_queries_become_halves_of_a_head(tmp_path: Path) -> None:
    tensors = cases.random_checkpoint(tmp_path, CONFIG, EMBEDDING, 4)
    _, model = loaded(tmp_path, EMBEDDING)
    found, stored = model.get_layer(QUERY).kernel.numpy().T, tensors[f"{QUERY}.weight"]
    order = [8 * head + row for head in range(4) for row in (0, 2, 4, 6, 1, 3, 5, 7)]
    assert np.array_equal(found, stored[order])
    value = QUERY.replace("query", "value")
    assert np.array_equal(model.get_layer(value).kernel.numpy().T, tensors[f"{value}.weight"])


def test_another_table_is_refused_and_none_is_needed(tmp_path: Path) -> None:
    tensors = cases.random_checkpoint(tmp_path, CONFIG, EMBEDDING, 4)
    tensors[TABLE][3, 2] += 0.01
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"{TABLE} is not what every roformer"):
        loaded(tmp_path, EMBEDDING)
    del tensors[TABLE]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded(tmp_path, EMBEDDING)


def test_the_published_size() -> None:
    config = parse_config(load_preset("roformer-chinese-base").config)
    # 124M of junnyu/roformer_chinese_base: BERT-base's layers and a table of 50,000 words.
    assert cost.parameters(config) == (50_000 + 2 + 2) * 768 + 12 * 7_087_872 == 123_457_536
    assert config.max_position_embeddings == 1536
    bert = parse_config(load_preset("bert-base").config)
    assert cost.flops(config, 128) == cost.flops(bert, 128)


@pytest.mark.parametrize("config", [CONFIG, NARROW])
def test_parameters_are_those_of_the_built_model(config: cases.Config) -> None:
    read = parse_config(config)
    assert cost.parameters(read) == build(read, EMBEDDING).model.count_params()


def _vocabulary(folder: Path, **settings: str) -> Path:
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in toys.VOCABULARY))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("settings", [{}, {"tokenizer_class": "RoFormerTokenizer"}])
@pytest.mark.parametrize("has_jieba", [False, True])
def test_what_jieba_cuts_is_refused(
    tmp_path: Path, settings: dict[str, str], has_jieba: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _vocabulary(tmp_path, **settings)
    if has_jieba:
        found = type("RoFormerTokenizerFast", (), {})()
        monkeypatch.setattr(tokenizers, "_as_transformers", lambda folder: found)
    with pytest.raises(CheckpointError, match=r"by jieba.*no board runs: take a RoFormer"):
        load_tokenizer(folder, len(toys.VOCABULARY))


def test_a_tokeniser_of_bert_is_carried_to_the_board(tmp_path: Path) -> None:
    folder = _vocabulary(tmp_path, tokenizer_class="BertTokenizer")
    pair = "Ada was good", "where is the film ?"
    expected = transformers.AutoTokenizer.from_pretrained(folder)(*pair)
    made = load_tokenizer(folder, len(toys.VOCABULARY)).to_str().encode()
    arrays = TextEncoder(made, 16, pairs=True).encode(*pair).arrays(16)
    count = len(expected["input_ids"])
    assert sum(expected["token_type_ids"]) == 6
    for name, array in arrays.items():
        assert array[0, :count].tolist() == expected[name], name


@pytest.mark.parametrize("graph", ["integer", "edgetpu"])
def test_integer_graphs_are_the_plain_graph(
    tmp_path: Path, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.nn, "gelu", lambda x, approximate: x * tf.sigmoid(1.702 * x))
    checkpoint, plain = loaded(write_folder(tmp_path / "toy", embedding_size=24), CLASSIFICATION)
    random = np.random.RandomState(0)
    texts = [random.randint(5, 60, length).astype(np.int32) for length in range(5, 17)]
    lowering = Lowering(checkpoint, Shape(CLASSIFICATION, 2, 16, graph=graph), texts)
    lowering.decided["plans"] = {}
    inputs = cases.batch(CONFIG)
    found = lowering.build(GraphOptions()).model(inputs)["logits"]
    np.testing.assert_allclose(found, plain(inputs)["logits"], atol=1e-4)


def test_a_static_graph_turns_as_one_of_any_length(tmp_path: Path) -> None:
    checkpoint, plain = loaded(write_folder(tmp_path / "toy", EMBEDDING), EMBEDDING)
    options = GraphOptions(batch_size=1, sequence_length=cases.SEQUENCE_LENGTH)
    static = build(checkpoint.config, EMBEDDING, 2, options).model
    load_weights(static, checkpoint, EMBEDDING)
    inputs = cases.batch(CONFIG)
    found = [
        static({name: value[row : row + 1] for name, value in inputs.items()})["embedding"][0]
        for row in range(4)
    ]
    np.testing.assert_allclose(found, plain(inputs)["embedding"], atol=1e-6)


def test_it_is_not_cut() -> None:
    config = parse_config(CONFIG)
    with pytest.raises(InputError, match="roformer cannot be cut: positions turn the channels"):
        config.architecture.named_parts()


@pytest.mark.parametrize("task", [CLASSIFICATION, pytest.param(EMBEDDING, marks=pytest.mark.slow)])
def test_int8_agrees_in_both_runtimes(tmp_path: Path, task: str) -> None:
    buckets = (8,) if task == CLASSIFICATION else ()
    assert_int8_agrees(write_folder(tmp_path / "toy", task, small=True), tmp_path, buckets)
