"""Folders of sentence-transformers: what is understood, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders
from bars import Bars

from tfedge.conversion.asked import default_length
from tfedge.errors import CheckpointError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.config import (
    embedding_length,
    normalizes_embeddings,
    pooling_of,
    tokenizer_length,
)
from tfedge.models.folder import copy_rest, transformer_folder
from tfedge.models.hub import Source, resolve
from tfedge.records import as_json
from tfedge.tasks.sentence_embedding import check_pooling

NAME = "sentence_transformers.models."


def write_modules(folder: Path, *kinds: str, pooling: Any = None, transformer: str = "") -> Path:
    """modules.json with `kinds` in its order, and the settings of a Pooling."""
    paths = {"Transformer": transformer}
    modules = [
        {"idx": n, "path": paths.get(kind, f"{n}_{kind}"), "type": NAME + kind}
        for n, kind in enumerate(kinds)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(modules))
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


MEAN_ONLY = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
CLS_ONLY = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (None, "mean"),
        ({}, "mean"),
        (MEAN_ONLY, "mean"),
        (CLS_ONLY, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}, "max"),
        ({"pooling_mode_max_tokens": True}, "mean+max"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
    ],
)
def test_poolings(tmp_path: Path, settings: Any, expected: str) -> None:
    write_modules(tmp_path, "Transformer", "Pooling", "Normalize", pooling=settings)
    assert pooling_of(tmp_path) == expected
    assert normalizes_embeddings(tmp_path)
    if expected not in ("mean", "cls"):
        with pytest.raises(CheckpointError, match=rf"the {re.escape(expected)}; only mean and cls"):
            check_pooling(expected)


def test_a_plain_folder_is_the_mean_of_length_1(tmp_path: Path) -> None:
    assert (pooling_of(tmp_path), normalizes_embeddings(tmp_path)) == ("mean", True)
    assert transformer_folder(tmp_path) == tmp_path
    assert embedding_length(tmp_path) is None


def test_other_modules_are_refused_where_they_matter(tmp_path: Path) -> None:
    write_modules(tmp_path, "Transformer", "Pooling", "Dense", "Normalize")
    with pytest.raises(CheckpointError, match="Transformer, Pooling, Dense, Normalize"):
        check_pooling(pooling_of(tmp_path))
    toy_folders.write_folder(tmp_path)
    config = Checkpoint(tmp_path).config  # a classifier of the same folder does not mind
    build(config, "text-classification")
    with pytest.raises(CheckpointError, match="Dense"):
        build(config, "sentence-embedding")


def test_a_default_prompt_is_refused_with_a_way_out(tmp_path: Path) -> None:
    write_modules(tmp_path, "Transformer", "Pooling")
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": None}
    path = tmp_path / "config_sentence_transformers.json"
    path.write_text(json.dumps(prompts))
    check_pooling(pooling_of(tmp_path))
    path.write_text(json.dumps({**prompts, "default_prompt_name": "query"}))
    with pytest.raises(
        CheckpointError, match=r"prompt 'query: ' before them.*remove default_prompt"
    ):
        check_pooling(pooling_of(tmp_path))


def test_an_encoder_in_a_folder_of_its_own(tmp_path: Path) -> None:
    root = write_modules(
        tmp_path / "st", "Transformer", "Pooling", pooling=CLS_ONLY, transformer="0_Transformer"
    )
    inner = toy_folders.write_folder(root / "0_Transformer", task="sentence-embedding")
    (inner / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    source = resolve(str(root))
    assert (source.name, source.folder) == ("st", inner)
    assert Checkpoint(inner).config.pooling == "cls"
    assert not normalizes_embeddings(inner)
    assert embedding_length(inner) == 12
    copy = tmp_path / "copy"
    copy_rest(inner, copy)
    toy_folders.write_folder(copy, task="sentence-embedding")
    assert transformer_folder(copy) == copy
    assert (pooling_of(copy), embedding_length(copy)) == ("cls", 12)
    assert not normalizes_embeddings(copy)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("modules.json", "{}", "no list of modules"),
        ("modules.json", "[", "not readable JSON"),
        (
            "modules.json",
            '[{"type": "Transformer", "path": "../other"}]',
            "not the name of a folder",
        ),
        ("config_sentence_transformers.json", "[]", "holds a list"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: str, reason: str) -> None:
    write_modules(tmp_path, "Transformer", "Pooling")
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=reason):
        pooling_of(tmp_path)


@pytest.mark.parametrize("length", ['"many"', "0", "true"])
def test_damaged_length(tmp_path: Path, length: str) -> None:
    (tmp_path / "sentence_bert_config.json").write_text(f'{{"max_seq_length": {length}}}')
    with pytest.raises(CheckpointError, match="max_seq_length"):
        embedding_length(tmp_path)


def test_cls_embeddings_are_the_first_hidden_state(tmp_path: Path) -> None:
    folder = toy_folders.write_folder(tmp_path, task="sentence-embedding")
    write_modules(folder, "Transformer", "Pooling", pooling=CLS_ONLY)
    checkpoint = Checkpoint(folder)
    encoder = build(checkpoint.config, "sentence-embedding")
    load_weights(encoder.model, checkpoint, "sentence-embedding")
    inputs = {name: np.ones((2, 5), np.int32) for name in encoder.model.input_names}
    functions = type(encoder.model)(encoder.model.input, encoder.hidden_states[-1])
    first = functions(inputs).numpy()[:, 0]
    expected = first / np.linalg.norm(first, axis=-1, keepdims=True)
    np.testing.assert_allclose(encoder.model(inputs)["embedding"], expected, atol=1e-6)


@pytest.mark.slow
def test_cls_embeddings_in_integers(tmp_path: Path) -> None:
    """Conversion compares the float file with Keras by itself, and the integers with that file."""
    from tfedge.conversion.convert import ConvertOptions, convert

    folder = toy_folders.write_folder(tmp_path / "toy", task="sentence-embedding")
    write_modules(folder, "Transformer", "Pooling", "Normalize", pooling=CLS_ONLY)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    texts = toy_folders.write_sentences(tmp_path / "texts.tsv")
    settings = ConvertOptions(
        "int8", buckets=(), calibration=str(texts), output=tmp_path, max_drop=5.0
    )
    report = as_json(convert(str(folder), settings, Bars()))
    assert report["sequence_length"] == 16
    assert report["quantization"]["float_operators"] == 0
    (output,) = report["outputs"]
    assert (output["shape"], output["dtype"]) == ([1, 32], "INT8")


@pytest.mark.parametrize(
    ("settings", "tokenizer", "expected"),
    [
        ({"max_seq_length": 128}, {"model_max_length": 512}, 128),
        ({}, {"model_max_length": 128}, 128),  # what sentence-transformers 6 saves
        ({"max_seq_length": None}, {"model_max_length": 128}, 128),
        ({}, {"model_max_length": 1000000000000000019884624838656}, None),  # transformers' none
        ({}, {"model_max_length": 1e30}, None),
        ({}, {}, None),
    ],
)
def test_length_of_embeddings(
    tmp_path: Path, settings: dict[str, Any], tokenizer: dict[str, Any], expected: int | None
) -> None:
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps(settings))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    assert embedding_length(tmp_path) == expected
    # Of other models transformers' pipelines go by the tokeniser alone.
    own = tokenizer.get("model_max_length")
    assert tokenizer_length(tmp_path) == (None if own and own > 1e6 else own)


def test_a_text_is_cut_where_the_tokeniser_says(tmp_path: Path) -> None:
    """As by transformers' pipeline of tokens, and by the others with `truncation`."""
    source = Source("x", tmp_path, None, str(tmp_path))
    assert default_length(source, "token-classification") == 128
    for said, expected in ((64, 64), (512, 128), (10**30, 128)):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": said}))
        for task in ("token-classification", "text-classification", "sentence-embedding"):
            assert default_length(source, task) == expected


def test_the_length_of_the_tokeniser_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": "long"}')
    with pytest.raises(CheckpointError, match="model_max_length is 'long'; it must be a whole"):
        embedding_length(tmp_path)
