"""ALBERT: what it has of its own; that it agrees with torch is in tests/models/test_parity.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import records
import tensorflow as tf
import toy_folders
import transformers
import unigram
from bars import Bars
from conversions import assert_int8_agrees
from lowered import lowered
from safetensors.numpy import load_file, save_file

from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.data.tokenizer import load_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models import cost
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config
from tfedge.presets import load_preset
from tfedge.quantize import felt, plan
from tfedge.quantize.prepare import Lowering, Shape
from tfedge.runtime.tokenizer import TextEncoder
from tfedge.tasks import task_and_labels
from tfedge.tflite.flatbuffer import parse
from tfedge.train.distil import DistillationLosses
from tfedge.train.finetune import finetune
from tfedge.train.prune import prune
from tfedge.train.qad import qad
from tfedge.train.sparsity import PruningOptions
from tfedge.train.training import TrainingOptions

CONFIG, GROUPS = cases.CONFIGS["albert"], cases.CONFIGS["albert-groups"]
CLASSIFICATION, TOKENS, SPANS, EMBEDDING = (
    "text-classification",
    "token-classification",
    "question-answering",
    "sentence-embedding",
)
LAYER = "encoder.layer.{}.{}"
DENSE = ("attention.query", "attention.key", "attention.value", "attention.dense", "ffn")
DENSE = (*DENSE, "ffn_output")


def write_folder(folder: Path, task: str = CLASSIFICATION, **changes: Any) -> Path:
    """A toy of three passes through one group, with ALBERT's tokeniser."""
    changes = {"vocab_size": unigram.SIZE, "num_hidden_layers": 3, **changes}
    return unigram.write_albert(toy_folders.write_folder(folder, "albert", task, **changes))


def texts(count: int = 12) -> list[np.ndarray]:
    random = np.random.RandomState(0)
    return [random.randint(5, 60, 5 + index).astype(np.int32) for index in range(count)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("embedding_size", 0),
        ("embedding_size", None),
        ("num_hidden_groups", 0),
        ("num_hidden_groups", 3),  # of two passes
        ("inner_group_num", 0),
        ("inner_group_num", 1.5),
        ("is_decoder", True),
        ("position_embedding_type", "relative_key"),
    ],
)
def test_values_that_no_graph_computes_are_refused(key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: {key} is"):
        parse_config({**CONFIG, key: value})


def test_what_is_beyond_any_file_is_refused() -> None:
    with pytest.raises(CheckpointError, match="describes a matrix of"):
        parse_config({**CONFIG, "embedding_size": 2_000_000, "vocab_size": 2_000})
    with pytest.raises(CheckpointError, match=r"1000 times 2 layers .* are more than 1000"):
        parse_config({**CONFIG, "num_hidden_layers": 1000, "inner_group_num": 2})


def test_what_config_json_leaves_out_is_as_in_transformers() -> None:
    left_out = ("embedding_size", "num_hidden_groups", "inner_group_num", "hidden_act")
    config = parse_config({key: value for key, value in CONFIG.items() if key not in left_out})
    theirs = transformers.AlbertConfig()
    for key in (*left_out, "hidden_dropout_prob", "attention_probs_dropout_prob"):
        assert getattr(config, key) == getattr(theirs, key), key


def test_groups_follow_each_other() -> None:
    """As transformers numbers them, int(i / (passes / groups))."""
    config = parse_config({**GROUPS, "num_hidden_layers": 7, "num_hidden_groups": 3})
    name_of = config.architecture.tensor_name
    found = [name_of(config, LAYER.format(index, "ffn.weight")) for index in range(14)]
    groups = [0, 0, 0, 1, 1, 2, 2]
    assert found == [
        f"encoder.albert_layer_groups.{group}.albert_layers.{inner}.ffn.weight"
        for group in groups
        for inner in (0, 1)
    ]
    assert name_of(config, "pooler.weight") == "pooler.weight"


@pytest.mark.parametrize("task", [CLASSIFICATION, TOKENS, SPANS, EMBEDDING])
@pytest.mark.parametrize("config", [CONFIG, GROUPS])
def test_heads_are_told_apart_and_written_back(
    tmp_path: Path, config: cases.Config, task: str
) -> None:
    original = cases.random_checkpoint(tmp_path / "a", config, task, 4)
    checkpoint = Checkpoint(tmp_path / "a")
    found, labels = task_and_labels(checkpoint)
    assert found == task
    model = build(checkpoint.config, task, len(labels) or 2).model
    assert load_weights(model, checkpoint, task) == []
    save_checkpoint(model, checkpoint.config, task, tmp_path / "b", labels)
    copied = load_file(tmp_path / "b" / "model.safetensors")
    # A mean of tokens has no use for the pooler.
    expected = {
        name: value
        for name, value in original.items()
        if task != EMBEDDING or not name.startswith("pooler.")
    }
    assert copied.keys() == expected.keys()
    assert all(np.array_equal(copied[name], value) for name, value in expected.items())
    written = json.loads((tmp_path / "b" / "config.json").read_text())
    assert written["architectures"] == [f"Albert{cases.CLASS_SUFFIXES[task]}"]
    assert written["num_hidden_layers"] == config["num_hidden_layers"]


@pytest.mark.parametrize("named", ["AlbertForPreTraining", "AlbertForMaskedLM"])
def test_what_pretraining_leaves_is_an_encoder(tmp_path: Path, named: str) -> None:
    tensors = cases.random_checkpoint(tmp_path, CONFIG, EMBEDDING, 5)
    tensors = {f"albert.{name}": value for name, value in tensors.items()}
    tensors |= {
        "albert.embeddings.position_ids": np.arange(20)[None],
        "predictions.dense.weight": np.ones((24, 32), np.float32),
        "predictions.decoder.weight": np.ones((60, 24), np.float32),
        "sop_classifier.classifier.weight": np.ones((2, 32), np.float32),
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = cases.hf_config(CONFIG, EMBEDDING)
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": [named]}))
    checkpoint = Checkpoint(tmp_path)
    if named == "AlbertForPreTraining":
        with pytest.raises(CheckpointError, match=named):
            task_and_labels(checkpoint)
    else:
        assert task_and_labels(checkpoint) == ("fill-mask", [])
    assert task_and_labels(checkpoint, EMBEDDING) == (EMBEDDING, [])
    model = build(checkpoint.config, CLASSIFICATION).model
    fresh = load_weights(model, checkpoint, CLASSIFICATION, new_head=True)
    assert sorted(fresh) == ["classifier.bias", "classifier.weight"]  # the pooler is there


def test_the_published_size() -> None:
    config = parse_config(load_preset("albert-base-v2").config)
    # Of albert/albert-base-v2, one layer as in BERT-base; 12M in Lan et al. 2019, table 1.
    tables, layer, pooler = (30_000 + 512 + 2 + 2) * 128, 7_087_872, 769 * 768
    assert cost.parameters(config) == tables + 129 * 768 + layer == 11_092_992
    assert cost.parameters(config, pooler=True) == cost.parameters(config) + pooler == 11_683_584
    # It computes as much as twelve layers of their own, and what is behind the tables.
    bert = parse_config(load_preset("bert-base").config)
    assert cost.flops(config, 128) == cost.flops(bert, 128) + 2 * 128 * 128 * 768


@pytest.mark.parametrize("config", [CONFIG, GROUPS])
def test_parameters_are_those_of_the_built_model(config: cases.Config) -> None:
    read = parse_config(config)
    assert cost.parameters(read) == build(read, EMBEDDING).model.count_params()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"keep_accents": True},
        {"do_lower_case": False, "keep_accents": True},
    ],
)
def test_its_tokeniser_is_carried_to_the_board(tmp_path: Path, settings: dict[str, bool]) -> None:
    """Small letters and accents as tokenizer_config.json says: the ids of transformers."""
    corpus = [*toy_folders.sentences(40).texts, *["Été à É", "ete a e", "ETE", "``quoted''"] * 9]
    unigram.write_albert(tmp_path, corpus, **settings)
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": unigram.SIZE}))
    text = "``Été'' à the FILM"
    expected = transformers.AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"]
    made = load_tokenizer(tmp_path, unigram.SIZE).to_str().encode()
    found = TextEncoder(made, 64).encode(text).arrays(64)["input_ids"]
    assert found[0, : len(expected)].tolist() == expected
    plain = transformers.AutoTokenizer.from_pretrained(unigram.write_albert(tmp_path, corpus))
    assert (plain(text)["input_ids"] != expected) == bool(settings)


@pytest.mark.parametrize(
    "named",
    [
        None,
        ["input_ids", "attention_mask"],
        ["input_ids", "token_type_ids", "attention_mask"],
    ],
)
def test_pairs_have_the_types_that_it_was_trained_with(
    tmp_path: Path, named: list[str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless tokenizer_config.json names inputs without them; transformers 5 gives none of itself."""
    unigram.write_albert(tmp_path, **({"model_input_names": named} if named else {}))
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": unigram.SIZE}))
    pair = "the film was good", "where is the film"
    whole = transformers.AutoTokenizer.from_pretrained(tmp_path)
    has_types = named is None or "token_type_ids" in named
    assert ("token_type_ids" in whole(*pair)) == (has_types and named is not None)
    expected = whole(*pair, return_token_type_ids=has_types)
    made = load_tokenizer(tmp_path, unigram.SIZE).to_str().encode()
    arrays = TextEncoder(made, 64, pairs=True).encode(*pair).arrays(64)
    count = len(expected["input_ids"])
    types = expected.get("token_type_ids", [0] * count)
    assert any(types) == has_types
    assert arrays["input_ids"][0, :count].tolist() == expected["input_ids"]
    assert arrays["token_type_ids"][0, :count].tolist() == types
    assert ("as transformers 4 gives them" in capsys.readouterr().err) == (named is None)


@pytest.fixture
def outliers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A toy of two groups, of whose neurons and channels a few are far beyond all others."""
    for module in (felt, plan):  # however little the answers of a toy feel it
        monkeypatch.setattr(module, "NEGLIGIBLE", 0.0)
    folder = tmp_path / "outliers"
    changes = {"num_hidden_layers": 4, "num_hidden_groups": 2, "intermediate_size": 128}
    write_folder(folder, **changes)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    layer = "albert.encoder.albert_layer_groups.0.albert_layers.0."
    kernel = tensors[f"{layer}ffn.weight"]
    for neuron in (3, 7):
        kernel[neuron] *= 40 / np.abs(kernel[neuron]).sum()
    tensors[f"{layer}ffn_output.weight"][5, 3] = 20
    tensors[f"{layer}full_layer_layer_norm.weight"][9] = 12
    save_file(tensors, path, metadata={"format": "pt"})
    return Checkpoint(folder)


def test_layers_with_the_same_weights_keep_them_in_integers(outliers: Checkpoint) -> None:
    lowering = lowered(outliers, Shape(CLASSIFICATION, 2, 16), texts())
    paths, factors = lowering.decided["excess"], lowering.decided["factors"]
    assert {name for name in paths if ".0." in name}  # else rounding is left to the converter
    model = lowering.build(lowering.shape.options()).model
    for part in DENSE:
        kernels = [model.get_layer(LAYER.format(index, part)).kernel.numpy() for index in range(4)]
        assert np.array_equal(kernels[0], kernels[1]), part
        assert np.array_equal(kernels[2], kernels[3]), part
        assert not np.array_equal(kernels[0], kernels[2]), part
    norm = LAYER.format("{}", "attention.LayerNorm")
    assert np.ptp(factors[norm.format(0)]) > 0.1
    for first, second in ((0, 1), (2, 3)):
        assert np.array_equal(factors[norm.format(first)], factors[norm.format(second)])
    # Those with a path have the same one.
    for part in ("ffn", "ffn_output"):
        pair = [paths.get(LAYER.format(index, part)) for index in (0, 1)]
        places = [getattr(path, "neurons", getattr(path, "channels", None)) for path in pair]
        assert None in places or places[0] == places[1]


@pytest.mark.parametrize("graph", ["integer", "edgetpu"])
def test_integer_graphs_are_the_plain_graph(
    tmp_path: Path, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.nn, "gelu", lambda x, approximate: x * tf.sigmoid(1.702 * x))
    changes = {key: GROUPS[key] for key in ("num_hidden_groups", "inner_group_num")}
    checkpoint = Checkpoint(write_folder(tmp_path / "toy", **changes))
    plain = build(checkpoint.config, CLASSIFICATION, 2).model
    load_weights(plain, checkpoint, CLASSIFICATION)
    lowering = Lowering(checkpoint, Shape(CLASSIFICATION, 2, 16, graph=graph), texts())
    lowering.decided["plans"] = {}
    inputs = cases.batch(CONFIG)
    found = lowering.build(GraphOptions(tied=False)).model(inputs)["logits"]
    np.testing.assert_allclose(found, plain(inputs)["logits"], atol=1e-4)


def test_training_keeps_layers_alike(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "toy")
    before = load_file(source / "model.safetensors")
    options = TrainingOptions(epochs=1, batch_size=8, max_length=16, learning_rate=1e-3)
    given = toy_folders.sentences(16)
    finetuned, pruned = tmp_path / "finetuned", tmp_path / "pruned"
    finetune(
        records.request(source, given, finetuned, options, records.Record()), toy_folders.LABELS
    )
    after = load_file(finetuned / "model.safetensors")
    assert after.keys() == before.keys()
    name = "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight"
    assert not np.array_equal(after[name], before[name])
    request = records.request(finetuned, given, pruned, options, records.Record())
    found = prune(request, PruningOptions(sparsity=0.5, frequency=1), DistillationLosses())
    zeros = load_file(pruned / "model.safetensors")[name] == 0
    assert np.mean(zeros) == pytest.approx(0.5, abs=0.01)
    assert {layer.name: layer.sparsity for layer in found.sparsity.layers}[
        "encoder.albert_layer_groups.0.albert_layers.0.ffn"
    ] == pytest.approx(0.5, abs=0.01)
    different = PruningOptions(layers=("*.0.ffn=0.5", "*.1.ffn=0.7"), frequency=1)
    with pytest.raises(InputError, match=r"layer\.0\.ffn and .*layer\.1\.ffn share their weights"):
        prune(request, different, DistillationLosses())
    with pytest.raises(InputError, match=r"share their weights.*leave out qad"):
        qad(
            records.request(finetuned, given, tmp_path / "qad", options, records.Record()),
            DistillationLosses(),
        )


def test_it_is_not_cut() -> None:
    config = parse_config(CONFIG)
    with pytest.raises(InputError, match="albert cannot be cut: its layers share their weights"):
        config.architecture.named_parts()
    with pytest.raises(InputError, match="cannot start from a albert teacher"):
        config.architecture.check_starts(config)


@pytest.mark.parametrize("task", [CLASSIFICATION, pytest.param(EMBEDDING, marks=pytest.mark.slow)])
def test_int8_agrees_in_both_runtimes(tmp_path: Path, task: str) -> None:
    buckets = (8,) if task == CLASSIFICATION else ()
    assert_int8_agrees(write_folder(tmp_path / "toy", task), tmp_path, buckets)


def held_bytes(path: Path) -> int:
    """Bytes of all constants of at least 1,024 bytes."""
    tree, _ = parse(path.read_bytes())
    sizes = [0 if buffer.data is None else len(buffer.data) for buffer in tree.buffers]
    return sum(size for size in sizes if size >= 1024)


@pytest.mark.parametrize("mode", ["int8", pytest.param("dynamic", marks=pytest.mark.slow)])
def test_files_hold_shared_weights_once(tmp_path: Path, mode: str) -> None:
    found = []
    for passes in (1, 3):
        sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": passes}
        options = ConvertOptions(
            quantization=mode,
            calibration=str(toy_folders.write_sentences(tmp_path / "toy.tsv", 24)),
            output=tmp_path / str(passes),
            max_drop=100.0,
            sequence_length=16,
            buckets=(),
            runtime="litert",
        )
        convert(str(write_folder(tmp_path / f"toy{passes}", **sizes)), options, Bars())
        (made,) = (tmp_path / str(passes)).glob(f"*/*_{mode}.tflite")
        found.append(held_bytes(made))
    # A layer has 49,152 weights.
    assert 49_152 < found[0] <= found[1] < found[0] + 8_192
