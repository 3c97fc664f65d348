"""Texts with masks: how they are read, and what is answered to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import byte_level
import numpy as np
import pytest
import toys
import unigram
from tokenizers import Tokenizer, models

from tfedge.runtime import OptionError, Pipeline, TextError
from tfedge.runtime.errors import ModelFileError
from tfedge.runtime.masks import MASKS, Masked, MaskEncoder
from tfedge.runtime.tasks.fill_mask import TASK
from tfedge.runtime.wanted import Wanted

Load = Callable[[str], Pipeline]


def encoder(length: int = 16) -> MaskEncoder:
    return MaskEncoder(toys.tokenizer_json(), length)


def test_a_row_for_each_mask() -> None:
    """Either way of writing one, in the offsets of the text."""
    text = "the [MASK] was <mask>."
    encoded = encoder().encode(text)
    assert isinstance(encoded, Masked)
    assert encoded.tokens == ["[CLS]", "the", "[MASK]", "was", "[MASK]", ".", "[SEP]"]
    assert encoded.arrays(8)["asked"][:, 0].tolist() == [2, 4]
    assert [text[slice(*encoded.offsets[at])] for at in (2, 4)] == ["[MASK]", "<mask>"]
    arrays = encoded.arrays(8)
    assert arrays["asked"].tolist() == [[2] * 8, [4] * 8]
    assert np.array_equal(arrays["input_ids"][0], arrays["input_ids"][1])
    assert arrays["attention_mask"].sum() == 2 * 7


def test_the_other_way_of_writing() -> None:
    """In SentencePiece's vocabularies the mask takes the blank before it."""
    made = unigram.tokenizer()
    text = "the [MASK] is good"
    encoded = MaskEncoder(made.to_str().encode(), 32).encode(text)
    at = encoded.ids.index(made.token_to_id("<mask>"))
    assert isinstance(encoded, Masked) and encoded.asked == at and encoded.offsets[at] == (3, 10)
    word = made.token_to_id("▁fi")
    logits = np.zeros((1, made.get_vocab_size()), np.float32)
    logits[0, word] = 1
    found = TASK.answer({"logits": logits}, encoded, text, ())
    assert found["filled"] == "the fi is good"
    assert (found["masks"][0]["start"], found["masks"][0]["end"]) == (4, 10)
    byte_pieces = MaskEncoder(byte_level.tokenizer().to_str().encode(), 32)
    assert byte_pieces.mask == "<mask>" and byte_pieces.encode(text).windows


def test_many_texts_have_the_first_mask() -> None:
    first, none = encoder().encode_batch(["a [MASK] is a [MASK]", "a film"])
    assert first.dtype == np.int32
    assert first[:, 2].tolist() == [2] * len(first) and none[:, 2].tolist() == [0] * len(none)
    assert first[:, 0].tolist() == encoder().encode("a [MASK] is a [MASK]").ids
    assert not first[:, 1].any()


def test_what_cannot_be_guessed() -> None:
    with pytest.raises(TextError, match=r"there is no \[MASK\]; put it where a word"):
        encoder().encode("the film")
    with pytest.raises(TextError, match=r"no \[MASK\] in the part that fits"):
        encoder(6).encode("the film was good in the [MASK]")
    with pytest.raises(TextError, match="must be a string, not int"):
        encoder().encode(3)  # type: ignore[arg-type]
    bare = Tokenizer(models.WordPiece({"[PAD]": 0, "[UNK]": 1, "a": 2, "1": 3}, unk_token="[UNK]"))
    with pytest.raises(ModelFileError, match=r"has no token \[MASK\] or <mask>"):
        MaskEncoder(bare.to_str().encode(), 8)


def answer(text: str, *logits: dict[str, float], **asked: Any) -> dict[str, Any]:
    """Of logits by word, 0 for all others."""
    rows = np.zeros((len(logits), len(toys.VOCABULARY)), np.float32)
    for row, values in zip(rows, logits, strict=True):
        for word, value in values.items():
            row[toys.VOCABULARY.index(word)] = value
    found = TASK.answer({"logits": rows}, encoder().encode(text), text, (), Wanted(**asked))
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def test_words_in_order() -> None:
    found = answer("ada was [MASK] .", {"good": 9.0, "bad": 8.0, "dull": 7.0})
    (mask,) = found["masks"]
    assert found["filled"] == "ada was good ."
    assert (mask["start"], mask["end"]) == (8, 14)
    assert [word["word"] for word in mask["words"]][:3] == ["good", "bad", "dull"]
    assert len(mask["words"]) == 5
    total = sum(np.exp([9.0, 8.0, 7.0])) + len(toys.VOCABULARY) - 3
    assert [word["score"] for word in mask["words"]][:2] == pytest.approx(np.exp([9, 8]) / total)
    assert mask["words"][0]["token"] == toys.VOCABULARY.index("good")
    assert TASK.line(found).startswith(f"good\t{np.exp(9) / total:.4f}\tbad\t")
    special = answer("ada was [MASK] .", {"[MASK]": 9.0, "[SEP]": 8.0}, top_k=2)
    assert [word["word"] for word in special["masks"][0]["words"]] == ["[MASK]", "[SEP]"]
    short = answer("ada was [MASK] .", {"good": 9.0, "bad": 8.0}, top_k=2)
    assert [word["word"] for word in short["masks"][0]["words"]] == ["good", "bad"]


def test_several_masks_each_by_itself() -> None:
    found = answer("[MASK] was <mask>!", {"ada": 9.0}, {"great": 9.0})
    assert [mask["words"][0]["word"] for mask in found["masks"]] == ["ada", "great"]
    assert found["filled"] == "ada was great!" == TASK.line(found)


def test_the_toy_guesses_by_what_is_before(load_toy: Load) -> None:
    fill = load_toy("filler")
    good, bad = fill(["good [MASK] bad bad", "bad <mask> good good"])
    assert good["masks"][0]["words"][0]["word"] in toys.GOOD
    assert bad["masks"][0]["words"][0]["word"] in toys.BAD
    both = fill("good [MASK] bad bad bad [MASK]", top_k=1)
    first, second = (mask["words"][0]["word"] for mask in both["masks"])
    assert first in toys.GOOD and second in toys.BAD
    assert "there is no [MASK]" in fill(["nothing"])[0]["error"]
    with pytest.raises(OptionError, match="aggregation does not apply to fill-mask"):
        fill("good [MASK]", aggregation="simple")
    assert any(mask in fill.example for mask in MASKS)
    assert fill(fill.example)["masks"]
