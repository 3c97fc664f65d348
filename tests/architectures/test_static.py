"""Static embeddings: folders of Model2Vec and of sentence-transformers answer as these do.

Neither is installed. What `StaticModel.encode` (model2vec 0.8.2, model2vec/model.py) and
`StaticEmbedding.forward` (sentence-transformers 5.1) compute is a few lines of numpy here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from bars import Bars
from program import INSTALLED, infer
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.conversion.job import Job
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import load_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models import cost
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import normalizes_embeddings, parse_config
from tfedge.models.hub import resolve
from tfedge.presets import load_preset
from tfedge.records import as_json
from tfedge.tasks import task_and_labels
from tfedge.train.trim import Wanted, trim

EMBEDDING = "sentence-embedding"
WIDTH = 8
# One of one token, some with unknown ones, one of more than most graphs have.
TEXTS = (
    "good",
    "the film is good",
    "Ada was BAD , the film was 日 dull 語 ?",
    "where is the awful film of bob",
    "xyz the great film was fine . " * 2,
)


def table(rows: int = len(toys.VOCABULARY), dtype: str = "float32") -> np.ndarray:
    """(rows, WIDTH), of sizes as those of a model: tokens that are frequent have short rows."""
    random = np.random.default_rng(3)
    values = random.normal(0, 0.5, (rows, WIDTH)) * np.linspace(0.2, 1, rows)[:, None]
    return values.astype(dtype)


def write_model2vec(
    folder: Path, config: Any = None, tokenizer: bytes | None = None, **tensors: np.ndarray
) -> Path:
    """A folder as `StaticModel.save_pretrained` leaves it."""
    folder.mkdir(parents=True)
    config = {"normalize": True} if config is None else config
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(
        '[{"idx": 0, "path": ".", "type": "sentence_transformers.models.StaticEmbedding"}]'
    )
    (folder / "tokenizer.json").write_bytes(tokenizer or toys.tokenizer_json())
    save_file({"embeddings": table()} | tensors, folder / "model.safetensors")
    return folder


def write_sentence_transformers(root: Path, *kinds: str) -> Path:
    """A folder as sentence-transformers writes it: without any config.json."""
    own = root / "0_StaticEmbedding"
    own.mkdir(parents=True)
    (own / "tokenizer.json").write_bytes(toys.tokenizer_json())
    save_file({"embedding.weight": table()}, own / "model.safetensors")
    modules = [
        {"idx": index, "path": f"{index}_{kind}", "type": f"sentence_transformers.models.{kind}"}
        for index, kind in enumerate(("StaticEmbedding", *kinds))
    ]
    (root / "modules.json").write_text(json.dumps(modules))
    (root / "config_sentence_transformers.json").write_text('{"similarity_fn_name": "cosine"}')
    return root


def model2vec_answer(folder: Path, text: str) -> np.ndarray:
    """What `StaticModel.from_pretrained(folder).encode(text)` gives, (C,)."""
    tensors = load_file(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = json.loads((folder / "config.json").read_text())
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    if getattr(tokenizer.model, "unk_token", None) is not None:
        unknown = tokenizer.get_vocab()[tokenizer.model.unk_token]
        ids = [number for number in ids if number != unknown]
    if not ids:
        return np.zeros(tensors["embeddings"].shape[1])
    rows = tensors["embeddings"][tensors["mapping"][ids] if "mapping" in tensors else ids]
    if "weights" in tensors:
        rows = rows * tensors["weights"][ids][:, None]
    mean = rows.mean(axis=0)
    return mean / (np.linalg.norm(mean) + 1e-32) if config.get("normalize", False) else mean


def bag_answer(folder: Path, text: str, normalize: bool) -> np.ndarray:
    """What an `EmbeddingBag` of a StaticEmbedding gives, (C,)."""
    own = folder / "0_StaticEmbedding"
    tokenizer = Tokenizer.from_file(str(own / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    mean = load_file(own / "model.safetensors")["embedding.weight"][ids].mean(axis=0)
    return mean / np.linalg.norm(mean) if normalize else mean


def options(root: Path, quantization: str, length: int = 32) -> ConvertOptions:
    """Of a conversion to two graphs, calibrated on `TEXTS`."""
    data = root / "texts.tsv"
    data.write_text("text\n" + "".join(f"{text}\n" for text in TEXTS * 5))
    return ConvertOptions(
        quantization=quantization,
        calibration=str(data),
        output=root / "out",
        max_drop=100.0,
        sequence_length=length,
        buckets=(8,),
    )


def answers(folder: Path, root: Path, quantization: str, runtime: str) -> np.ndarray:
    """What tfedge-infer answers to `TEXTS`, (texts, C)."""
    made = root / "out" / folder.name / f"{folder.name}_{quantization}.tflite"
    if not made.exists():
        report = as_json(convert(str(folder), options(root, quantization), Bars()))
        assert tuple(report["evaluation"]["runtimes"]) == INSTALLED
    result = infer("--model", made, "--runtime", runtime, "--json", *TEXTS)
    assert result.code == 0, result.errors
    return np.array([answer["embedding"] for answer in result.objects])


WAYS: dict[str, dict[str, Any]] = {
    "normalised": {},
    "plain": {"config": {}},
    "quantised": {
        "embeddings": np.round(40 * table(11)).astype(np.int8),
        "mapping": (np.arange(len(toys.VOCABULARY)) * 5 % 11).astype(np.int64),
        "weights": np.linspace(0.1, 2, len(toys.VOCABULARY)),
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_float32_answers_are_those_of_model2vec(tmp_path: Path, way: str) -> None:
    folder = write_model2vec(tmp_path / "toy", **WAYS[way])
    expected = [model2vec_answer(folder, text) for text in TEXTS]
    for runtime in INSTALLED:
        found = answers(folder, tmp_path, "float32", runtime)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kinds", [(), ("Normalize",)])
def test_float32_answers_are_those_of_sentence_transformers(
    tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    """To which an unknown token is one like others."""
    folder = write_sentence_transformers(tmp_path / "toy", *kinds)
    found = answers(folder, tmp_path, "float32", INSTALLED[0])
    for text, answer in zip(TEXTS, found, strict=True):
        expected = bag_answer(folder, text, bool(kinds))
        np.testing.assert_allclose(answer, expected, atol=1e-5, err_msg=text)
    other = model2vec_answer(write_model2vec(tmp_path / "other"), TEXTS[2])
    assert np.abs(other - bag_answer(folder, TEXTS[2], True)).max() > 0.01


def test_a_table_of_16_bits_is_read(tmp_path: Path) -> None:
    half = table(dtype="float16")
    checkpoint = Checkpoint(write_model2vec(tmp_path / "toy", embeddings=half))
    np.testing.assert_array_equal(checkpoint.read("embeddings"), half.astype(np.float32))


@pytest.mark.parametrize(
    ("way", "quantization"), [("normalised", "dynamic"), ("normalised", "int8"), ("plain", "int8")]
)
def test_integers_answer_nearly_the_same(tmp_path: Path, way: str, quantization: str) -> None:
    """In size too, where embeddings have any, and of a text of one token."""
    folder = write_model2vec(tmp_path / "toy", **WAYS[way])
    expected = np.array([model2vec_answer(folder, text) for text in TEXTS])
    for runtime in INSTALLED:
        found = answers(folder, tmp_path, quantization, runtime)
        sizes, wanted = np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1)
        np.testing.assert_array_less(0.998, (found * expected).sum(1) / sizes / wanted)
        np.testing.assert_allclose(sizes, wanted, rtol=0.04)
    if quantization == "int8":
        (path,) = (tmp_path / "out").rglob("*.json")
        report = json.loads(path.read_text())
        assert report["quantization"]["float_operators"] == 0
        assert (report["parameters"], report["flops"]) == (table().size, 0)


def test_texts_of_unknown_tokens_alone_and_empty_ones(tmp_path: Path) -> None:
    folder = write_model2vec(tmp_path / "toy")
    answers(folder, tmp_path, "float32", INSTALLED[0])
    made = tmp_path / "out" / "toy" / "toy_float32.tflite"
    result = infer("--model", made, "--json", "日 語")
    np.testing.assert_array_equal(result.objects[0]["embedding"], model2vec_answer(folder, "日"))
    assert result.objects[0]["unknown_share"] == 1.0
    empty = infer("--model", made, "")
    assert "text 1: the text is empty" in empty.errors[0]


def test_what_transformers_never_reads_is_read(tmp_path: Path) -> None:
    """A config.json without model_type, and none at all."""
    older = Checkpoint(write_model2vec(tmp_path / "older"))
    assert task_and_labels(older) == (EMBEDDING, [])
    assert older.config.model_type == "model2vec"
    assert older.config.source["unk_token_id"] == 1
    found = resolve(str(write_sentence_transformers(tmp_path / "newer"))).folder
    assert found.name == "0_StaticEmbedding"
    newer = Checkpoint(found)
    assert (newer.config.model_type, newer.config.hidden_size) == ("static-embedding", WIDTH)
    assert not normalizes_embeddings(found)


def test_a_table_is_written_back(tmp_path: Path) -> None:
    folder = write_model2vec(tmp_path / "toy", **WAYS["quantised"])
    checkpoint = Checkpoint(folder)
    model = build(checkpoint.config, EMBEDDING).model
    load_weights(model, checkpoint, EMBEDDING)
    save_checkpoint(model, checkpoint.config, EMBEDDING, tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer.json").write_bytes(toys.tokenizer_json())
    for text in TEXTS:
        found = model2vec_answer(tmp_path / "copy", text)
        expected = model2vec_answer(folder, text)
        assert expected @ found / np.linalg.norm(expected) / np.linalg.norm(found) > 1 - 1e-6
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert config["architectures"] == ["StaticModel"]


@pytest.mark.parametrize("way", ["normalised", "quantised"])
def test_its_vocabulary_is_trimmed(tmp_path: Path, way: str) -> None:
    folder = write_model2vec(tmp_path / "toy", **WAYS[way])
    texts = Texts(list(TEXTS), None, "texts")
    result = trim(folder, tmp_path / "small", Wanted(texts), None, Bars())
    assert result.rows < len(toys.VOCABULARY)
    for text in TEXTS:
        expected = model2vec_answer(folder, text)
        found = model2vec_answer(tmp_path / "small", text)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_byte_level_tokeniser_has_no_unknown_token(tmp_path: Path) -> None:
    letters = {letter: index for index, letter in enumerate(("<pad>", *"abcdegilmofst"))}
    tokenizer = Tokenizer(models.BPE(letters, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = write_model2vec(
        tmp_path / "toy", tokenizer=tokenizer.to_str().encode(), embeddings=table(len(letters))
    )
    assert Checkpoint(folder).config.source["unk_token_id"] is None
    made = load_tokenizer(folder, len(letters), True)
    assert made.encode("a film").ids == [letters[letter] for letter in "afilm"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"config": {"normalize": 1}}, "normalize is 1; it must be true or false"),
        ({"embeddings": np.zeros(3, np.float32)}, r"is of shape \[3\]"),
        ({"embeddings": table(5)}, "has a tokeniser of .* word embeddings for 5"),
        ({"weights": np.ones(3)}, "surplus: weights"),
        ({"mapping": np.full(len(toys.VOCABULARY), 200)}, "mapping must have the row of each"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: Any, expected: str) -> None:
    folder = write_model2vec(tmp_path / "toy", **changes)
    with pytest.raises(CheckpointError, match=expected):
        convert(str(folder), options(tmp_path, "float32"), Bars())


def test_other_modules_and_tasks_are_refused(tmp_path: Path) -> None:
    folder = write_sentence_transformers(tmp_path / "dense", "Dense")
    with pytest.raises(CheckpointError, match="mean in the modules StaticEmbedding, Dense"):
        convert(str(folder), options(tmp_path, "float32"), Bars())
    plain = write_model2vec(tmp_path / "plain")
    with pytest.raises(InputError, match="a model2vec is for sentence-embedding alone"):
        build(Checkpoint(plain).config, "text-classification")
    target = ConvertOptions(target="edgetpu", output=tmp_path)
    with pytest.raises(InputError, match="a model2vec has no layers that an Edge TPU"):
        Job(str(plain), target, Bars())


def test_the_preset_has_the_published_size() -> None:
    preset = load_preset("potion-base-8m")
    config = parse_config(preset.config)
    assert cost.parameters(config) == 29_528 * 256  # "7.5M", https://hf.co/minishlab/potion-base-8M
    assert cost.flops(config, 128) == 0
