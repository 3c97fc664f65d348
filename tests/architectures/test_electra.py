"""ELECTRA: what it has of its own; that it agrees with torch is in tests/models/test_parity.py."""

from __future__ import annotations

import json
from pathlib import Path

import cases
import numpy as np
import pytest
import tensorflow as tf
import toy_folders
import toys
import transformers
from conversions import assert_int8_agrees
from safetensors.numpy import load_file, save_file

from tfedge.data.tokenizer import load_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models import cost
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, assign, load_weights, save_checkpoint
from tfedge.models.config import parse_config
from tfedge.presets import load_preset
from tfedge.quantize.equalize import centre
from tfedge.quantize.prepare import Lowering, Shape
from tfedge.runtime.tokenizer import TextEncoder
from tfedge.tasks import task_and_labels
from tfedge.train.cut import Cut, cut_config, cut_tensors, plan, tensors_of
from tfedge.train.importance import importance_of_weights
from tfedge.train.select import Space

CONFIG = cases.CONFIGS["electra"]
EQUAL = {**CONFIG, "embedding_size": 32}
CLASSIFICATION, TOKENS, SPANS, EMBEDDING = (
    "text-classification",
    "token-classification",
    "question-answering",
    "sentence-embedding",
)
PROJECTION = "embeddings_project"


def write_folder(folder: Path, task: str, small: bool = False) -> Path:
    return toy_folders.write_folder(folder, "electra", task, small=small)


def loaded(folder: Path, task: str) -> tuple[Checkpoint, tf.keras.Model]:
    checkpoint = Checkpoint(folder)
    model = build(checkpoint.config, task, 2).model
    load_weights(model, checkpoint, task)
    return checkpoint, model


def test_a_dense_layer_follows_tables_of_another_width() -> None:
    names = [layer.name for layer in build(parse_config(CONFIG), EMBEDDING).model.layers]
    assert PROJECTION in names
    assert names.index(PROJECTION) > names.index("embeddings.LayerNorm")
    assert PROJECTION not in [
        layer.name for layer in build(parse_config(EQUAL), EMBEDDING).model.layers
    ]
    # transformers' own default, whatever the hidden size is.
    without = {key: value for key, value in CONFIG.items() if key != "embedding_size"}
    model = build(parse_config(without), EMBEDDING).model
    assert model.get_layer("embeddings.word_embeddings").embeddings.shape == (60, 128)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embedding_size", 0),
        ("embedding_size", "24"),
        ("embedding_size", None),
        ("is_decoder", True),
        ("position_embedding_type", "relative_key"),
    ],
)
def test_values_that_no_graph_computes_are_refused(key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: {key} is"):
        parse_config({**CONFIG, key: value})


def test_tables_beyond_any_file_are_refused() -> None:
    with pytest.raises(CheckpointError, match="describes a matrix of"):
        parse_config({**CONFIG, "embedding_size": 2_000_000, "vocab_size": 2_000})


@pytest.mark.parametrize("task", [CLASSIFICATION, TOKENS, SPANS, EMBEDDING])
def test_heads_are_told_apart_and_written_back(tmp_path: Path, task: str) -> None:
    original = cases.random_checkpoint(tmp_path / "a", CONFIG, task, 4)
    checkpoint = Checkpoint(tmp_path / "a")
    found, labels = task_and_labels(checkpoint)
    assert found == task
    model = build(checkpoint.config, task, len(labels) or 2).model
    assert load_weights(model, checkpoint, task) == []
    save_checkpoint(model, checkpoint.config, task, tmp_path / "b", labels)
    copied = load_file(tmp_path / "b" / "model.safetensors")
    assert copied.keys() == original.keys()
    assert all(np.array_equal(copied[name], value) for name, value in original.items())
    named = json.loads((tmp_path / "b" / "config.json").read_text())["architectures"]
    assert named == [f"Electra{cases.CLASS_SUFFIXES[task]}"]


def test_a_discriminator_takes_a_new_head(tmp_path: Path) -> None:
    tensors = cases.random_checkpoint(tmp_path, CONFIG, SPANS, 5)
    bare = {name: value for name, value in tensors.items() if name.startswith("electra.")}
    bare["discriminator_predictions.dense.weight"] = np.ones((32, 32), np.float32)
    bare["electra.embeddings.position_ids"] = np.arange(20)[None]
    save_file(bare, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = Checkpoint(tmp_path)
    model = build(checkpoint.config, CLASSIFICATION).model
    fresh = load_weights(model, checkpoint, CLASSIFICATION, new_head=True)
    assert sorted(fresh) == [
        f"classifier.{part}.{kind}" for part in ("dense", "out_proj") for kind in ("bias", "weight")
    ]


def test_the_published_size() -> None:
    config = parse_config(load_preset("electra-small").config)
    # Of google/electra-small-discriminator, without the head of its pretraining: tables of 128
    # channels, the dense layer to 256, and 12 layers of 789,760. 14M in Clark et al. 2020, table 1.
    tables, layer = (30_522 + 512 + 2 + 2) * 128, 789_760
    assert cost.parameters(config) == tables + 129 * 256 + 12 * layer == 13_483_008
    # The dense layer behind the tables, and of each layer 12 C^2 and the two products of attention.
    products = 128 * 128 * 256 + 12 * (128 * 12 * 256**2 + 2 * 128 * 128 * 256)
    assert cost.flops(config, 128) == 2 * products


@pytest.mark.parametrize("config", [CONFIG, EQUAL])
def test_parameters_are_those_of_the_built_model(config: cases.Config) -> None:
    read = parse_config(config)
    assert cost.parameters(read) == build(read, EMBEDDING).model.count_params()


@pytest.mark.parametrize("named", ["ElectraTokenizer", "ElectraTokenizerFast"])
def test_its_tokeniser_is_carried_to_the_board(tmp_path: Path, named: str) -> None:
    """A vocabulary alone, as most are published: ids and types are those of transformers."""
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in toys.VOCABULARY))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    settings = {"do_lower_case": True, "tokenizer_class": named}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    pair = "Ada was good", "where is the film ?"
    expected = transformers.AutoTokenizer.from_pretrained(tmp_path)(*pair)
    made = load_tokenizer(tmp_path, len(toys.VOCABULARY)).to_str().encode()
    encoded = TextEncoder(made, 16, pairs=True).encode(*pair)
    count = len(expected["input_ids"])
    assert count == 11 and sum(expected["token_type_ids"]) == 6
    for name, array in encoded.arrays(16).items():
        assert array[0, :count].tolist() == expected[name], name


def test_centring_leaves_what_attention_reads(tmp_path: Path) -> None:
    """The first hidden states come from a dense layer, and more than a norm reads them."""
    checkpoint, model = loaded(write_folder(tmp_path / "toy", CLASSIFICATION), CLASSIFICATION)
    inputs = cases.batch(CONFIG)
    before = model(inputs)["logits"]
    kernel = model.get_layer(PROJECTION).kernel.numpy()
    centre(model, checkpoint.config.architecture.streams(checkpoint.config))
    assert np.array_equal(model.get_layer(PROJECTION).kernel, kernel)
    dense = model.get_layer("encoder.layer.0.attention.output.dense")
    np.testing.assert_allclose(dense.kernel.numpy().mean(-1), 0, atol=1e-7)
    np.testing.assert_allclose(model(inputs)["logits"], before, atol=1e-5)


@pytest.mark.parametrize(
    "graph", ["integer", "edgetpu", pytest.param("edgetpu-plain", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("act", ["gelu", "silu"])
def test_integer_graphs_are_the_plain_graph(
    tmp_path: Path, graph: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rewrites decided: the stream behind the tables, and the GELU of the head."""
    monkeypatch.setattr(tf.nn, "gelu", lambda x, approximate: x * tf.sigmoid(1.702 * x))
    folder = toy_folders.write_folder(tmp_path / "toy", "electra", CLASSIFICATION, hidden_act=act)
    checkpoint, plain = loaded(folder, CLASSIFICATION)
    random = np.random.RandomState(0)
    texts = [random.randint(5, 60, length).astype(np.int32) for length in range(5, 17)]
    lowering = Lowering(checkpoint, Shape(CLASSIFICATION, 2, 16, graph=graph), texts)
    assert "embeddings.LayerNorm.output" in lowering.decided["factors"]
    lowering.decided["plans"] = {}
    inputs = cases.batch(CONFIG)
    found = lowering.build(GraphOptions()).model(inputs)["logits"]
    np.testing.assert_allclose(found, plain(inputs)["logits"], atol=1e-4)


def test_a_narrower_one_keeps_the_tables(tmp_path: Path) -> None:
    """And of the dense layer behind them the outputs that are left."""
    checkpoint, model = loaded(write_folder(tmp_path / "toy", EMBEDDING), EMBEDDING)
    config, tensors = checkpoint.config, tensors_of(model)
    kept = [0, *range(17, 32)]
    cut = Cut(kept, (0, 1), [range(4)] * 2, [range(48)] * 2, 4)
    made = cut_tensors(config, tensors, cut)
    words = "embeddings.word_embeddings.weight"
    assert np.array_equal(made[words], tensors[words])
    assert np.array_equal(made[f"{PROJECTION}.weight"], tensors[f"{PROJECTION}.weight"][kept])
    smaller = cut_config(config, cut)
    assert (smaller.source["hidden_size"], smaller.source["embedding_size"]) == (16, 24)
    assign(build(smaller, EMBEDDING).model, made)


def test_tables_as_wide_as_the_hidden_states_are_cut_with_them() -> None:
    config = parse_config(toy_folders.config("electra-relu"))
    cut = Cut(range(24), (0, 1), [range(3)] * 2, [range(48)] * 2, 8)
    smaller = cut_config(config, cut)
    assert smaller.source["embedding_size"] == smaller.source["hidden_size"] == 24
    made = cut_tensors(config, tensors_of(build(config, EMBEDDING).model), cut)
    assign(build(smaller, EMBEDDING).model, made)


def test_no_width_makes_the_dense_layer_vanish() -> None:
    config = parse_config({**CONFIG, "embedding_size": 16})
    widths = Space(frozenset({"width"}), True).widths(config)
    assert widths == [32, 24, 8]
    assert Space(frozenset({"width"}), True).widths(parse_config(EQUAL)) == [32, 24, 16, 8]


def test_a_student_has_the_tables_of_its_teacher() -> None:
    teacher, student = (parse_config({**CONFIG, "embedding_size": size}) for size in (24, 16))
    tensors = tensors_of(build(teacher, EMBEDDING).model)
    with pytest.raises(InputError, match="student and teacher differ in embedding_size"):
        plan(teacher, student, tensors)


def test_a_channel_that_no_table_reaches_counts_less() -> None:
    config = parse_config(CONFIG)
    tensors = {
        name: value.copy() for name, value in tensors_of(build(config, EMBEDDING).model).items()
    }
    usual = importance_of_weights(config, tensors).channels
    tensors[f"{PROJECTION}.weight"][5] = 0
    tensors[f"{PROJECTION}.bias"][5] = 0
    less = importance_of_weights(config, tensors).channels
    assert less[5] < usual[5]
    assert np.array_equal(np.delete(less, 5), np.delete(usual, 5))


@pytest.mark.parametrize("task", [CLASSIFICATION, pytest.param(EMBEDDING, marks=pytest.mark.slow)])
def test_int8_agrees_in_both_runtimes(tmp_path: Path, task: str) -> None:
    buckets = (8,) if task == CLASSIFICATION else ()
    assert_int8_agrees(write_folder(tmp_path / "toy", task, small=True), tmp_path, buckets)
