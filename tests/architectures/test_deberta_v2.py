"""DeBERTa v2 and v3: what they have of their own; that they agree with torch is in
tests/models/test_parity.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import tensorflow as tf
import toy_folders
import transformers
from ai_edge_litert import schema_py_generated as schema
from conversions import assert_int8_agrees
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tfedge.architectures.deberta_v2 import rows_of_distances
from tfedge.data.tokenizer import load_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models import cost
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build, input_names
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config
from tfedge.models.distances import shifted
from tfedge.presets import load_preset
from tfedge.quantize.lean import lean_graphs, wide_graphs
from tfedge.quantize.prepare import Lowering, Shape
from tfedge.runtime.tokenizer import TextEncoder
from tfedge.tasks import task_and_labels

CONFIG = cases.CONFIGS["deberta-v2"]
APART = cases.CONFIGS["deberta-v2-apart"]
# Of some distances, make_log_bucket_position(distance, 256, 512).
EXPECTED = {
    0: 0,
    1: 1,
    64: 64,
    128: 128,
    129: 129,
    131: 131,
    132: 131,
    133: 132,
    140: 137,
    141: 137,
}
EXPECTED |= {142: 138, 200: 169, 255: 192, 257: 192, 300: 207, 383: 229, 384: 229, 400: 233}
EXPECTED |= {450: 244, 500: 254, 505: 254, 506: 255, 511: 255}
CLASSIFICATION, TOKENS, SPANS, EMBEDDING = (
    "text-classification",
    "token-classification",
    "question-answering",
    "sentence-embedding",
)


def write_folder(folder: Path, task: str, architecture: str = "deberta-v2", **changes: Any) -> Path:
    return toy_folders.write_folder(folder, architecture, task, **changes)


@pytest.fixture
def sequences() -> list[np.ndarray]:
    """Token ids of 12 texts."""
    random = np.random.RandomState(0)
    return [random.randint(5, 60, length).astype(np.int32) for length in range(5, 17)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("relative_attention", False),
        ("relative_attention", None),
        ("conv_kernel_size", 3),  # of v2-xlarge
        ("embedding_size", 16),
        ("pooler_hidden_size", 16),
        ("pos_att_type", None),
        ("pos_att_type", "c2p|p2p"),
        ("pos_att_type", []),
        ("norm_rel_ebd", "batch_norm"),
        ("position_buckets", "8"),
        ("pooler_hidden_act", "tanh"),
        ("is_decoder", True),
    ],
)
def test_values_that_no_graph_computes_are_refused(key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: {key} is"):
        parse_config({**CONFIG, key: value})


def test_terms_are_a_list_or_one_text() -> None:
    for value in ("p2c|c2p", "C2P | p2c", ["p2c", "c2p"]):
        assert parse_config({**CONFIG, "pos_att_type": value}).score_terms == 3
    assert parse_config({**CONFIG, "pos_att_type": "p2c"}).score_terms == 2
    assert parse_config(CONFIG).query_scale == (8 * 3) ** -0.5


def test_distances_share_rows_as_in_transformers() -> None:
    """make_log_bucket_position of transformers 5.23, with DeBERTa-v3's 256 buckets and 512 tokens."""
    rows = rows_of_distances(parse_config(load_preset("deberta-v3-small").config))
    assert len(rows) == 2 * 512 - 1
    found = dict(zip(range(-511, 512), (rows - 256).tolist(), strict=True))
    for distance, row in EXPECTED.items():
        assert found[distance] == row, distance
        assert found[-distance] == -row, distance


def test_without_buckets_far_distances_are_cut_off() -> None:
    rows = rows_of_distances(parse_config(APART))
    # Of a table of 8: 4 behind, and the farthest before is one less.
    assert rows[19 - 6 : 19 + 7].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7]


@pytest.mark.parametrize(("rows", "columns"), [(1, 6), (2, 6), (5, 5), (6, 1), (6, 2)])
@pytest.mark.parametrize("is_static", [True, False])
def test_rows_are_shifted_against_each_other(rows: int, columns: int, is_static: bool) -> None:
    width = rows + columns - 1
    x = np.arange(2 * 3 * rows * width, dtype=np.float32).reshape(2, 3, rows, width)
    like = np.zeros((2, columns), np.float32)
    shape = None if is_static else [None, None]
    signature = [tf.TensorSpec((2, 3, rows, width)), tf.TensorSpec(shape or like.shape)]
    found = tf.function(lambda a, b: shifted([a, b], 1), input_signature=signature)(x, like)
    for row in range(rows):
        start = rows - 1 - row
        assert np.array_equal(found[:, :, row], x[:, :, row, start : start + columns])


@pytest.mark.parametrize("architecture", ["deberta-v2", "deberta-v2-apart"])
@pytest.mark.parametrize("task", [CLASSIFICATION, TOKENS, SPANS, EMBEDDING])
def test_heads_are_told_apart_and_written_back(
    tmp_path: Path, task: str, architecture: str
) -> None:
    """Dense layers that contents and distances share are one tensor again."""
    config = cases.CONFIGS[architecture]
    original = cases.random_checkpoint(tmp_path / "a", config, task, 4)
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
    assert named == [f"DebertaV2{cases.CLASS_SUFFIXES[task]}"]


def test_a_pretrained_one_takes_a_new_head(tmp_path: Path) -> None:
    """With the heads of its pretraining and positions that no word is added to, as v3 is published."""
    tensors = cases.random_checkpoint(tmp_path, CONFIG, SPANS, 5)
    bare = {name: value for name, value in tensors.items() if name.startswith("deberta.")}
    bare["lm_predictions.lm_head.bias"] = np.ones(60, np.float32)
    bare["mask_predictions.dense.weight"] = np.ones((32, 32), np.float32)
    bare["deberta.embeddings.position_embeddings.weight"] = np.ones((20, 32), np.float32)
    save_file(bare, tmp_path / "model.safetensors", metadata={"format": "pt"})
    checkpoint = Checkpoint(tmp_path)
    model = build(checkpoint.config, CLASSIFICATION).model
    fresh = load_weights(model, checkpoint, CLASSIFICATION, new_head=True)
    assert sorted(fresh) == [
        f"{part}.{kind}" for part in ("classifier", "pooler.dense") for kind in ("bias", "weight")
    ]


def test_inputs() -> None:
    assert input_names(parse_config(CONFIG)) == ("input_ids", "attention_mask")
    assert input_names(parse_config(APART))[2] == "token_type_ids"


def test_the_published_size() -> None:
    config = parse_config(load_preset("deberta-v3-small").config)
    # Tables of 128,100 and of 2 * 256 rows with a norm each, and 6 layers of 7,087,872: 44M beside
    # 98M of words, as the card of microsoft/deberta-v3-small says.
    expected = (128_100 + 512) * 768 + 2 * 2 * 768 + 6 * 7_087_872
    assert cost.parameters(config) == expected == 141_304_320
    # Beside BERT's, each query with all 255 distances, and each key.
    products = 6 * 128 * (12 * 768**2 + 2 * 128 * 768 + 2 * 255 * 768)
    assert cost.flops(config, 128) == 2 * products


@pytest.mark.parametrize("source", [CONFIG, APART])
def test_parameters_are_those_of_the_checkpoint(source: cases.Config) -> None:
    shapes = cases.tensor_shapes(source, EMBEDDING).values()
    assert cost.parameters(parse_config(source)) == sum(int(np.prod(shape)) for shape in shapes)


def test_it_is_not_cut() -> None:
    with pytest.raises(
        InputError, match="family deberta-v2 cannot be cut: the tables of its distances"
    ):
        parse_config(CONFIG).architecture.named_parts()


def test_its_tokeniser_is_carried_to_the_board(tmp_path: Path) -> None:
    """A Unigram, as transformers makes it of the published spm.model."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    words = [*special, "▁", "▁the", "▁film", "▁was", "▁good", "▁where", "▁is", "?", "g", "o", "d"]
    pieces = [(word, -float(place)) for place, word in enumerate([*words, "[MASK]"])]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Strip(), normalizers.Replace("  ", " "), normalizers.NFKC()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "always")
    tokenizer.decoder = decoders.Metaspace("▁", "always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    tokenizer.add_special_tokens([*special, "[MASK]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": len(pieces)}))
    named = {
        "tokenizer_class": "DebertaV2Tokenizer",
        "do_lower_case": False,
        "split_by_punct": False,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    pair = "the film was  good", "where is the gööd film?"
    expected = transformers.AutoTokenizer.from_pretrained(tmp_path)(*pair)["input_ids"]
    made = load_tokenizer(tmp_path, len(pieces)).to_str().encode()
    found = TextEncoder(made, 40, pairs=True).encode(*pair).arrays(40)["input_ids"][0]
    assert len(expected) > 12
    assert found[: len(expected)].tolist() == expected


@pytest.mark.parametrize("task", [CLASSIFICATION, EMBEDDING])
def test_graphs_without_ranges_are_the_plain_graph(
    tmp_path: Path, task: str, sequences: list[np.ndarray]
) -> None:
    """Of a classifier's last layer one query."""
    checkpoint = Checkpoint(write_folder(tmp_path / "toy", task))
    inputs = {name: value[:1] for name, value in cases.batch(checkpoint.config.source).items()}
    shape = Shape(task, 2, cases.SEQUENCE_LENGTH, normalize=False, buckets=(8,))
    plain = build(checkpoint.config, task, 2, GraphOptions(normalize=False))
    load_weights(plain.model, checkpoint, task)
    for graphs in (lean_graphs(checkpoint, shape), wide_graphs(checkpoint, shape, sequences)):
        for length, graph in graphs.items():
            cut = {name: value[:, :length] for name, value in inputs.items()}
            for name, expected in plain.model(cut).items():
                np.testing.assert_allclose(graph(cut)[name], expected, atol=1e-4)


@pytest.mark.parametrize("architecture", ["deberta-v2", "deberta-v2-apart", "deberta-v2-c2p"])
def test_integer_graphs_are_the_plain_graph(
    tmp_path: Path, architecture: str, sequences: list[np.ndarray]
) -> None:
    checkpoint = Checkpoint(write_folder(tmp_path / "toy", CLASSIFICATION, architecture))
    lowering = Lowering(checkpoint, Shape(CLASSIFICATION, 2, 16), sequences[:4])
    lowering.decided["plans"] = {}
    plain = build(checkpoint.config, CLASSIFICATION).model
    load_weights(plain, checkpoint, CLASSIFICATION)
    inputs = cases.batch(checkpoint.config.source)
    expected = plain(inputs)["logits"]
    whole = lowering.build(GraphOptions(tied=False)).model(inputs)["logits"]
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    options = GraphOptions(1, cases.SEQUENCE_LENGTH, prune_last_layer=True, tied=False)
    static = lowering.build(options).model
    for row, wanted in enumerate(expected):
        one = {name: value[row : row + 1] for name, value in inputs.items()}
        np.testing.assert_allclose(static(one)["logits"][0], wanted, atol=1e-4)


def test_the_edge_tpu_is_refused(tmp_path: Path, sequences: list[np.ndarray]) -> None:
    checkpoint = Checkpoint(write_folder(tmp_path / "toy", CLASSIFICATION, small=True))
    with pytest.raises(InputError, match="not made for --target edgetpu: its scores of distances"):
        Lowering(checkpoint, Shape(CLASSIFICATION, 2, 16, graph="edgetpu"), sequences[:2])


def test_nothing_is_looked_up_but_words_and_masks(tmp_path: Path) -> None:
    checkpoint = Checkpoint(write_folder(tmp_path / "toy", EMBEDDING))
    graph = lean_graphs(checkpoint, Shape(EMBEDDING, 2, 16))[16]
    content = tf.lite.TFLiteConverter.from_keras_model(graph).convert()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    codes = [model.operatorCodes[item.opcodeIndex] for item in model.subgraphs[0].operators]
    # The words, and the mask for scores and for the mean.
    assert sum(code.builtinCode == schema.BuiltinOperator.GATHER for code in codes) == 3


def test_int8_agrees_in_both_runtimes(tmp_path: Path) -> None:
    assert_int8_agrees(write_folder(tmp_path / "toy", EMBEDDING, small=True), tmp_path, (8,))


def test_contents_and_distances_are_trained_as_one() -> None:
    model = build(parse_config(CONFIG), EMBEDDING).model
    key = "encoder.layer.1.attention.self.key_proj"
    assert model.get_layer(f"{key}.distances").kernel is model.get_layer(key).kernel
    apart = build(parse_config(CONFIG), EMBEDDING, options=GraphOptions(tied=False)).model
    assert apart.get_layer(f"{key}.distances").kernel is not apart.get_layer(key).kernel
