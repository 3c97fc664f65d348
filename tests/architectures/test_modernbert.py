"""ModernBERT: what it has of its own; that it agrees with torch is in tests/models/test_parity.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
import toy_folders
import transformers
from ai_edge_litert import schema_py_generated as schema
from conversions import assert_int8_agrees
from safetensors.numpy import load_file, save_file
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tfedge.data.tokenizer import load_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models import cost
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config
from tfedge.models.layers import ApartLayerNorm
from tfedge.presets import load_preset
from tfedge.quantize.excess import NeuronPath
from tfedge.quantize.lean import RoundedBlocks, lean_graphs, wide_graphs
from tfedge.quantize.outliers import is_normalised
from tfedge.quantize.prepare import Lowering, Shape
from tfedge.runtime.tokenizer import TextEncoder
from tfedge.tasks import task_and_labels
from tfedge.train.cut import tensors_of

CONFIG = cases.CONFIGS["modernbert"]
BIASES = cases.CONFIGS["modernbert-biases"]
CLASSIFICATION, TOKENS, SPANS, EMBEDDING = (
    "text-classification",
    "token-classification",
    "question-answering",
    "sentence-embedding",
)


def write_folder(folder: Path, task: str, architecture: str = "modernbert", **changes: Any) -> Path:
    return toy_folders.write_folder(folder, architecture, task, **changes)


@pytest.fixture
def sequences() -> list[np.ndarray]:
    """Token ids of 12 texts."""
    random = np.random.RandomState(0)
    return [random.randint(5, 60, length).astype(np.int32) for length in range(5, 17)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_activation", "tanh"),
        ("norm_bias", 0),
        ("local_attention", "128"),
        ("layer_types", ["full_attention"]),
        ("layer_types", [["full_attention"], {}]),
        ("layer_types", ["full_attention", "sliding_attention", "chunked_attention"]),
        ("global_rope_theta", None),
        ("local_rope_theta", 1),
        ("rope_scaling", {"type": "linear"}),
        ("rope_parameters", 5),
        ("classifier_pooling", "max"),
        ("classifier_activation", "tanh"),
    ],
)
def test_values_that_no_graph_computes_are_refused(key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: {key} is"):
        parse_config({**CONFIG, key: value})


def test_scaled_positions_are_refused() -> None:
    scaled = {"full_attention": {"rope_type": "yarn", "factor": 4.0}}
    with pytest.raises(
        CheckpointError, match=r"rope_parameters.full_attention is .* without scaled"
    ):
        parse_config({**CONFIG, "rope_parameters": scaled})


def test_heads_without_pairs_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"heads of 1 channels .* have no pairs"):
        parse_config({**CONFIG, "hidden_size": CONFIG["num_attention_heads"]})


def test_layers_and_angles_in_the_words_of_either_version() -> None:
    older: Any = parse_config(CONFIG)
    assert older.layer_types == ("full_attention", "sliding_attention", "sliding_attention")
    assert older.bases == {"full_attention": 160000.0, "sliding_attention": 10000.0}
    newer: Any = parse_config(BIASES)
    assert newer.layer_types == ("sliding_attention", "full_attention")
    assert newer.bases == {"full_attention": 5000.0, "sliding_attention": 100.0}
    assert older.reach == newer.reach == 4


@pytest.mark.parametrize("source", [CONFIG, BIASES], ids=["none", "biases"])
@pytest.mark.parametrize("task", [CLASSIFICATION, TOKENS, SPANS, EMBEDDING])
def test_heads_are_told_apart_and_written_back(
    tmp_path: Path, task: str, source: cases.Config
) -> None:
    """With what is one tensor in one, and no biases but those that the configuration names."""
    original = cases.random_checkpoint(tmp_path / "a", source, task, 4)
    checkpoint = Checkpoint(tmp_path / "a")
    found, labels = task_and_labels(checkpoint)
    assert found == task
    model = build(checkpoint.config, task, len(labels) or 2).model
    assert load_weights(model, checkpoint, task) == []
    shifts = [variable for variable in model.trainable_variables if "beta" in variable.name]
    assert bool(shifts) == (source is BIASES)
    save_checkpoint(model, checkpoint.config, task, tmp_path / "b", labels)
    copied = load_file(tmp_path / "b" / "model.safetensors")
    assert copied.keys() == original.keys()
    assert all(np.array_equal(copied[name], value) for name, value in original.items())
    named = json.loads((tmp_path / "b" / "config.json").read_text())["architectures"]
    assert named == [f"ModernBert{cases.CLASS_SUFFIXES[task]}"]


def test_a_tensor_of_too_few_parts_is_refused(tmp_path: Path) -> None:
    tensors = cases.random_checkpoint(tmp_path, CONFIG, CLASSIFICATION, 4)
    name = "model.layers.0.attn.Wqkv.weight"
    tensors[name] = tensors[name][:64]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = Checkpoint(tmp_path)
    model = build(checkpoint.config, CLASSIFICATION).model
    with pytest.raises(CheckpointError, match=r"Wqkv.weight is \[64, 32\], not \[96, 32\]"):
        load_weights(model, checkpoint, CLASSIFICATION)


def test_a_pretrained_one_takes_a_new_classifier_behind_its_head(tmp_path: Path) -> None:
    """As transformers does: the dense layer and norm of pretraining are those of a classifier."""
    tensors = cases.random_checkpoint(tmp_path, CONFIG, TOKENS, 5)
    tensors = {name: value for name, value in tensors.items() if "classifier" not in name}
    tensors["decoder.bias"] = np.ones(60, np.float32)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = Checkpoint(tmp_path)
    model = build(checkpoint.config, CLASSIFICATION).model
    fresh = load_weights(model, checkpoint, CLASSIFICATION, new_head=True)
    assert sorted(fresh) == ["classifier.bias", "classifier.weight"]
    kernel = model.get_layer("head.dense").kernel.numpy()
    assert np.array_equal(kernel.T, tensors["head.dense.weight"])


def test_no_window_where_no_text_is_longer() -> None:
    config = parse_config(CONFIG)
    kinds = {
        length: build(config, EMBEDDING, options=GraphOptions(1, length)).kinds for length in (5, 6)
    }
    assert "window_bias" not in kinds[5]
    assert "window_bias" in kinds[6]


def test_a_local_layer_sees_so_far_and_no_farther() -> None:
    source = {**CONFIG, "num_hidden_layers": 1, "layer_types": ["sliding_attention"]}
    model = build(parse_config(source), TOKENS, 3).model
    ids = np.arange(5, 17, dtype=np.int32)[None]
    mask = np.ones_like(ids)
    changed = ids.copy()
    changed[0, 11] = 50
    before, after = (
        model({"input_ids": each, "attention_mask": mask})["logits"][0] for each in (ids, changed)
    )
    moved = np.abs(np.subtract(before, after)).max(axis=1) > 0
    assert moved.tolist() == [False] * 7 + [True] * 5  # a window of 8: 4 to either side


def test_it_is_not_cut() -> None:
    config = parse_config(CONFIG)
    with pytest.raises(InputError, match="family modernbert cannot be cut: what its gates"):
        config.architecture.named_parts()


def test_the_published_size() -> None:
    config = parse_config(load_preset("modernbert-base").config)
    # "149 million", Warner et al. 2024, table 1 and section 2.2: tables of 50,368 rows, of each layer
    # 4 C^2 of attention and 3 C * 1152 of the gated network, and norms without shifts, of which the
    # first layer has one.
    layer = 4 * 768**2 + 3 * 768 * 1152
    expected = 50_368 * 768 + 22 * layer + (2 + 2 * 22 - 1) * 768
    assert cost.parameters(config) == expected == 149_014_272
    products = 22 * 128 * (layer + 2 * 128 * 768)
    assert cost.flops(config, 128) == 2 * products


@pytest.mark.parametrize("source", [CONFIG, BIASES])
def test_parameters_are_those_of_the_built_model(source: cases.Config) -> None:
    read = parse_config(source)
    model = build(read, EMBEDDING).model
    assert cost.parameters(read) == sum(np.size(value) for value in tensors_of(model).values())


def test_its_tokeniser_is_carried_to_the_board(tmp_path: Path) -> None:
    """Byte-level BPE with BERT's special tokens, of the class that the published ones name."""
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    special |= {"cls_token": "[CLS]", "mask_token": "[MASK]"}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[*special.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["Where is the film?", "Ada was good, good, good."], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": 300}))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    settings["model_input_names"] = ["input_ids", "attention_mask"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    pair = "Ada was gööd", "Where is the film?"
    expected = transformers.AutoTokenizer.from_pretrained(tmp_path)(*pair)
    made = load_tokenizer(tmp_path, 300).to_str().encode()
    encoded = TextEncoder(made, 40, pairs=True).encode(*pair)
    found = encoded.arrays(40)["input_ids"][0]
    count = len(expected["input_ids"])
    assert count > 15
    assert found[:count].tolist() == expected["input_ids"]


@pytest.mark.parametrize("task", [CLASSIFICATION, EMBEDDING])
def test_graphs_without_ranges_are_the_plain_graph(
    tmp_path: Path, task: str, sequences: list[np.ndarray]
) -> None:
    checkpoint = Checkpoint(write_folder(tmp_path / "toy", task))
    inputs = {name: value[:1] for name, value in cases.batch(checkpoint.config.source).items()}
    shape = Shape(task, 2, cases.SEQUENCE_LENGTH, normalize=False, buckets=(8,))
    plain = build(checkpoint.config, task, 2, GraphOptions(normalize=False))
    load_weights(plain.model, checkpoint, task)
    for graphs in (
        lean_graphs(checkpoint, shape),
        lean_graphs(checkpoint, shape, RoundedBlocks),
        wide_graphs(checkpoint, shape, sequences),
    ):
        for length, graph in graphs.items():
            cut = {name: value[:, :length] for name, value in inputs.items()}
            for name, expected in plain.model(cut).items():
                np.testing.assert_allclose(graph(cut)[name], expected, atol=1e-4)


@pytest.mark.parametrize(
    "graph", ["integer", "edgetpu", pytest.param("edgetpu-plain", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("architecture", ["modernbert", "modernbert-biases"])
def test_integer_graphs_are_the_plain_graph(
    tmp_path: Path,
    graph: str,
    architecture: str,
    sequences: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tf.nn, "gelu", lambda x, approximate: x * tf.sigmoid(1.702 * x))
    checkpoint = Checkpoint(write_folder(tmp_path / "toy", CLASSIFICATION, architecture))
    lowering = Lowering(checkpoint, Shape(CLASSIFICATION, 2, 16, graph=graph), sequences[:6])
    lowering.decided["plans"] = {}
    plain = build(checkpoint.config, CLASSIFICATION).model
    load_weights(plain, checkpoint, CLASSIFICATION)
    inputs = cases.batch(checkpoint.config.source)
    expected = plain(inputs)["logits"]
    whole = lowering.build(GraphOptions()).model(inputs)["logits"]
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    prune = architecture == "modernbert-biases"
    options = GraphOptions(1, cases.SEQUENCE_LENGTH, prune_last_layer=prune)
    static = lowering.build(options).model
    for row, wanted in enumerate(expected):
        one = {name: value[row : row + 1] for name, value in inputs.items()}
        np.testing.assert_allclose(static(one)["logits"][0], wanted, atol=1e-4)


@pytest.mark.parametrize("task", [CLASSIFICATION, pytest.param(EMBEDDING, marks=pytest.mark.slow)])
def test_int8_agrees_in_both_runtimes(tmp_path: Path, task: str) -> None:
    """Of a layer of either kind; a graph of 5 tokens has no window."""
    types = ["full_attention", "sliding_attention"]
    folder = write_folder(tmp_path / "toy", task, num_hidden_layers=2, layer_types=types)
    if task == CLASSIFICATION:
        # What a norm puts out is larger than what BERT's tanh does, and so would the logits be.
        tensors = load_file(folder / "model.safetensors")
        tensors["classifier.weight"] *= 0.5
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert_int8_agrees(folder, tmp_path, (5,) if task == EMBEDDING else ())


def test_what_goes_beyond_a_gelu_goes_through_the_gate(
    tmp_path: Path, sequences: list[np.ndarray]
) -> None:
    """A path of its own of some neurons is multiplied by what the others are."""
    folder = write_folder(tmp_path / "toy", EMBEDDING)
    tensors = load_file(folder / "model.safetensors")
    tensors["layers.0.mlp.Wi.weight"][:48] *= 8  # what the GELU reads
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    checkpoint = Checkpoint(folder)
    lowering = Lowering(checkpoint, Shape(EMBEDDING, 2, 16), sequences[:4])
    lowering.decided["plans"] = {}
    inputs = cases.batch(checkpoint.config.source)
    plain = build(checkpoint.config, EMBEDDING).model
    load_weights(plain, checkpoint, EMBEDDING)
    expected = plain(inputs)["embedding"]

    def answer(paths: dict[str, Any]) -> np.ndarray:
        lowering.decided["excess"] = paths
        found = lowering.build_clipped(GraphOptions()).model(inputs)["embedding"]
        return np.asarray(found / tf.norm(found, axis=-1, keepdims=True))

    path = NeuronPath(-1e3, 5.0, [*range(48)])
    np.testing.assert_allclose(answer({"layers.0.mlp.Wi.input": path}), expected, atol=1e-4)
    # And without it the clipping is felt.
    nothing = NeuronPath(-1e3, 5.0, [0])
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(answer({"layers.0.mlp.Wi.input": nothing}), expected, atol=1e-2)


def test_a_norm_reads_all_of_an_activation(tmp_path: Path, sequences: list[np.ndarray]) -> None:
    """Nothing of the head's goes a path of its own, which no norm would add to it."""
    checkpoint = Checkpoint(write_folder(tmp_path / "toy", CLASSIFICATION))
    lowering = Lowering(checkpoint, Shape(CLASSIFICATION, 2, 16), sequences[:2])
    assert is_normalised(lowering.plain, "head.dense")
    assert not is_normalised(lowering.plain, "layers.0.mlp.Wi.input")


@pytest.mark.parametrize("shifts", [False, True])
def test_the_gains_of_norms_stay_out_of_weights_that_are_rounded_apart(shifts: bool) -> None:
    """Squares, the inverse deviation and the gain are three products; the converter would put the
    last one into the dense layer behind it."""
    x = keras.Input((4, 8), 1)
    norm = ApartLayerNorm(1e-5, shifts=shifts)
    model = keras.Model(x, keras.layers.Dense(8)(norm(x)))
    norm.gamma.assign(np.arange(1, 9) / 4)
    norm.beta.assign(np.arange(8) * float(shifts))
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    codes = [graph.operatorCodes[item.opcodeIndex] for item in graph.subgraphs[0].operators]
    assert sum(code.builtinCode == schema.BuiltinOperator.MUL for code in codes) == 3
