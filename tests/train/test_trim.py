"""Checkpoints with fewer rows in their word tables answer as the whole ones do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import byte_level
import ml_dtypes
import numpy as np
import pytest
import tf_keras as keras
import toy_folders
import toys
import unigram
from safetensors.numpy import load_file, save_file

from tfedge.data.languages import language_codes, writing_of
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import encode, load_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models.build import input_names
from tfedge.models.stored import Checkpoint
from tfedge.progress import ProgressBar
from tfedge.runtime.tokenizer import pad
from tfedge.tasks import task_and_labels
from tfedge.train.place import refuse_existing
from tfedge.train.run import build_loaded
from tfedge.train.trim import Trimming, Wanted, trim

TEXTS = ["the film is good", "ada was bad .", "where is the awful film"]
HELD = ["the awful film was good", "ada is where the film is ."]  # of the same words
OTHER = "dull films in bob"


def folder_of(kind: str, folder: Path) -> Path:
    """A toy of an architecture with a tokeniser of the kind that such models have."""
    if kind in ("xlm-roberta", "camembert"):
        special = unigram.CAMEMBERT if kind == "camembert" else unigram.SPECIAL
        toy_folders.write_folder(folder, kind, small=True, vocab_size=unigram.SIZE)
        named = "Camembert" if kind == "camembert" else "XLMRoberta"
        return unigram.write(folder, special, named)
    if kind in ("roberta", "mpnet"):
        toy_folders.write_folder(folder, kind, small=True, vocab_size=byte_level.SIZE)
        byte_level.tokenizer().save(str(folder / "tokenizer.json"))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return folder
    # More rows than there are tokens, as many checkpoints have.
    return toy_folders.write_folder(folder, kind, small=True, vocab_size=len(toys.VOCABULARY) + 3)


def run(source: Path, output: Path, texts: Sequence[str] = TEXTS, **given: Any) -> Trimming:
    wanted = Wanted(Texts(list(texts), None, "toy texts") if texts else None, **given)
    return trim(source, output, wanted, Texts(HELD, None, "held"), ProgressBar)


def outputs(folder: Path, texts: Sequence[str]) -> dict[str, np.ndarray]:
    checkpoint = Checkpoint(folder)
    task, labels = task_and_labels(checkpoint)
    model = build_loaded(checkpoint, task, len(labels)).model
    tokenizer = load_tokenizer(folder, checkpoint.config.vocab_size)
    padding = checkpoint.config.architecture.padding_id(checkpoint.config) or 0
    inputs = pad(encode(tokenizer, texts, 16), 16, padding)
    found = model({name: inputs[name] for name in input_names(checkpoint.config)})
    keras.backend.clear_session()
    return {name: value.numpy() for name, value in found.items()}


@pytest.mark.parametrize(
    "kind",
    ["bert", "distilbert", "electra", "mobilebert", "roberta", "mpnet", "xlm-roberta", "camembert"],
)
def test_answers_are_the_same_to_the_last_bit(kind: str, tmp_path: Path) -> None:
    source = folder_of(kind, tmp_path / "whole")
    report = run(source, tmp_path / "small")
    whole, small = (
        json.loads((path / "config.json").read_text()) for path in (source, tmp_path / "small")
    )
    assert small["vocab_size"] == report.rows < report.rows_before == whole["vocab_size"]
    assert report.bytes < report.bytes_before
    assert report.texts and (report.texts.texts, report.texts.same_texts) == (3, 3)
    assert report.texts.unknown == report.texts.cut_otherwise == 0
    assert report.held_out and report.held_out.same_texts == 2
    texts = [*TEXTS, *HELD]
    before, after = outputs(source, texts), outputs(tmp_path / "small", texts)
    assert before.keys() == after.keys() and np.ptp(before["logits"]) > 0
    for name, value in before.items():
        assert np.array_equal(value, after[name]), name
    # Other texts are read, too.
    assert outputs(tmp_path / "small", [OTHER])["logits"].shape == (1, 2)


def test_as_many_rows_as_are_asked_for(tmp_path: Path) -> None:
    source = folder_of("bert", tmp_path / "whole")
    report = run(source, tmp_path / "small", vocab_size=40)
    assert report.rows == 40 and report.texts and report.texts.same_texts < 3
    assert report.texts.cut_otherwise > 0 == report.texts.unknown  # letters come first
    assert report.texts.tokens_after > report.texts.tokens_before
    tight = run(source, tmp_path / "tight", vocab_size=8)
    assert tight.rows == 8 and tight.texts and tight.texts.unknown > 0
    with pytest.raises(InputError, match=r"--vocab-size is 4, and special tokens .* are 5 already"):
        run(source, tmp_path / "none", vocab_size=4)
    assert not list(tmp_path.glob("*none*"))


def test_whatever_else_numbers_a_token_is_numbered_anew(tmp_path: Path) -> None:
    """[MASK] is far behind in this vocabulary, and a word that was added behind it."""
    source = folder_of("bert", tmp_path / "whole")
    content = json.loads((source / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["[MASK]"], vocabulary["##9"] = vocabulary["##9"], vocabulary["[MASK]"]
    new = len(toys.VOCABULARY)
    common = {"single_word": False, "lstrip": False, "rstrip": False, "special": False}
    content["added_tokens"] = [{"id": new, "content": "tfedge", "normalized": True, **common}]
    (source / "tokenizer.json").write_text(json.dumps(content))
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] = {str(new): {"content": "tfedge", **common}}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    config = json.loads((source / "config.json").read_text())
    config |= {"pad_token_id": 0, "mask_token_id": vocabulary["[MASK]"], "eos_token_id": None}
    (source / "config.json").write_text(json.dumps(config))
    (source / "vocab.txt").write_text("old")
    (source / "added_tokens.json").write_text("{}")

    rows = run(source, tmp_path / "small", texts=["good"]).rows
    small = json.loads((tmp_path / "small" / "config.json").read_text())
    tokenizer = load_tokenizer(tmp_path / "small", rows)
    assert small["pad_token_id"] == 0 and small["eos_token_id"] is None
    assert tokenizer.id_to_token(small["mask_token_id"]) == "[MASK]"
    assert tokenizer.encode("good tfedge").tokens == ["[CLS]", "good", "tfedge", "[SEP]"]
    settings = json.loads((tmp_path / "small" / "tokenizer_config.json").read_text())
    assert settings["added_tokens_decoder"] == {str(rows - 1): {"content": "tfedge", **common}}
    lines = (tmp_path / "small" / "vocab.txt").read_text().splitlines()
    assert lines == [tokenizer.id_to_token(index) for index in range(rows)]
    assert not (tmp_path / "small" / "added_tokens.json").exists()


def test_other_forms_of_a_byte_level_vocabulary(tmp_path: Path) -> None:
    source = folder_of("roberta", tmp_path / "whole")
    model = json.loads((source / "tokenizer.json").read_text())["model"]
    (source / "vocab.json").write_text(json.dumps(model["vocab"]))
    (source / "merges.txt").write_text("".join(f"{' '.join(pair)}\n" for pair in model["merges"]))
    run(source, tmp_path / "small")
    left = json.loads((tmp_path / "small" / "tokenizer.json").read_text())["model"]
    assert json.loads((tmp_path / "small" / "vocab.json").read_text()) == left["vocab"]
    first, *merges = (tmp_path / "small" / "merges.txt").read_text().splitlines()
    assert first == "#version: 0.2" and len(merges) == len(left["merges"]) < len(model["merges"])


def test_heads_that_give_words_lose_their_rows_too(tmp_path: Path) -> None:
    """In the types that they are stored in; so do tables in half precision."""
    source = folder_of("bert", tmp_path / "whole")
    tensors: dict[str, np.ndarray] = load_file(source / "model.safetensors")
    table = tensors["bert.embeddings.word_embeddings.weight"].astype(ml_dtypes.bfloat16)
    tensors["bert.embeddings.word_embeddings.weight"] = table
    rows = len(table)
    tensors["cls.predictions.decoder.weight"] = table.astype(np.float16)
    tensors["cls.predictions.bias"] = np.arange(rows, dtype=np.float32)
    tensors["cls.predictions.transform.dense.bias"] = np.zeros(32, np.float32)
    tensors["bert.embeddings.position_ids"] = np.arange(20)[None]
    save_file(tensors, source / "model.safetensors")
    report = run(source, tmp_path / "small")
    left = load_file(tmp_path / "small" / "model.safetensors")
    kept = left["cls.predictions.bias"].astype(int)
    assert len(kept) == report.rows and (np.diff(kept) > 0).all()
    for name, value in tensors.items():
        by_row = name.endswith(("word_embeddings.weight", "decoder.weight", "predictions.bias"))
        assert left[name].dtype == value.dtype
        assert np.array_equal(left[name], value[kept] if by_row else value), name

    tensors["cls.predictions.transform.dense.weight"] = np.zeros((rows, rows), np.float32)
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"which side of cls\.predictions\.transform\.dense"):
        run(source, tmp_path / "other")


def test_a_checkpoint_without_a_table(tmp_path: Path) -> None:
    source = folder_of("bert", tmp_path / "whole")
    save_file({}, source / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"word_embeddings\.weight is missing, of which tfedge"
    ):
        run(source, tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_what_is_in_the_way_and_what_stays_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of("bert", tmp_path / "whole")
    (source / "tfedge_quantization.json").write_text("{}")
    output = tmp_path / "small"
    output.mkdir()
    (output / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="small exists; choose another --output, or --force"):
        run(source, output)
    wanted = Wanted(Texts([("good", "the film"), ("bad", "ada")], None, "pairs", ("a", "b")))
    report = trim(source, output, wanted, None, ProgressBar, force=True)
    assert report.texts and report.texts.texts == 4 and report.held_out is None
    assert (output / "mine.txt").read_text() == "kept"
    assert not (output / "tfedge_quantization.json").exists()
    assert "tfedge_quantization.json is of the whole table" in capsys.readouterr().err
    # Once more in its own place, of what is left.
    again = trim(output, output, wanted, None, ProgressBar, force=True)
    assert again == dataclasses.replace(
        report, rows_before=report.rows, bytes_before=report.bytes, bytes=again.bytes
    )
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_by_languages(tmp_path: Path) -> None:
    """Only letters of the languages; a text of them is cut as before whatever it says."""
    source = tmp_path / "whole"
    texts = [
        "der Hund läuft über die Straße 3 .",
        "the dog runs",
        "собака бежит",
        "le chien là",
    ] * 5
    made = unigram.tokenizer(texts=texts)
    toy_folders.write_folder(source, "xlm-roberta", small=True, vocab_size=made.get_vocab_size())
    unigram.write(source)
    made.save(str(source / "tokenizer.json"))
    german = ["die Straße läuft der Hund .", "über die 3"]
    report = run(source, tmp_path / "small", texts=[], languages=("de", "en"))
    assert report.used is None and report.texts is None
    assert report.rows < report.rows_before
    left = load_tokenizer(tmp_path / "small", report.rows)
    tokens = "".join(left.get_vocab())
    assert set("äüßdog3.") <= set(tokens) and not set("собакà") & set(tokens)
    before, after = load_tokenizer(source).encode_batch(german), left.encode_batch(german)
    assert [one.tokens for one in before] == [one.tokens for one in after]
    assert np.array_equal(
        outputs(source, german)["logits"], outputs(tmp_path / "small", german)["logits"]
    )
    # What texts use comes before what only the language has.
    both = run(source, tmp_path / "both", texts=["собака"], languages=("de",), vocab_size=30)
    assert both.rows == 30 and both.texts and both.texts.same_texts == 1


def test_languages_are_told_apart() -> None:
    german = writing_of(["de"])
    assert german.has("Straße, ÄRGER 3 🐌") and not german.has("là") and not german.has("да")
    assert german.has("u\u0308ber") and german.has("")
    assert writing_of(["de", "ru"]).has("да über") and not writing_of(["ru"]).has("dog")
    assert writing_of(["tr"]).has("İstanbul") and writing_of(["ja"]).has("日本のカラー々")
    assert writing_of(["hi"]).has("हिन्दी") and writing_of(["vi"]).has("Tiếng Việt")
    assert len(language_codes()) == len(set(language_codes())) > 70
    for code in language_codes():
        assert writing_of([code]).letters or writing_of([code]).scripts
    with pytest.raises(InputError, match="no language 'xx'; known are af, am, ar"):
        writing_of(["xx"])
    with pytest.raises(InputError, match="say what is to be read: give --keep-texts"):
        Wanted()


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    """Not after all texts have been counted."""
    (tmp_path / "a.tsv").write_text("")
    with pytest.raises(InputError, match=r"cannot write into .*a\.tsv: "):
        refuse_existing(tmp_path / "a.tsv" / "small", force=False)
