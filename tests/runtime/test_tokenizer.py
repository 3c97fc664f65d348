"""Texts to input arrays."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import toys as toy_builder
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge.runtime import ModelFileError, TextError
from tfedge.runtime.tokenizer import TextEncoder

TOKENIZER = toy_builder.tokenizer_json()


def numbers(*tokens: str) -> list[int]:
    return [toy_builder.VOCABULARY.index(token) for token in tokens]


def test_one_text() -> None:
    encoded = TextEncoder(TOKENIZER, 16).encode("A Good film")
    assert encoded.tokens == ["[CLS]", "a", "good", "film", "[SEP]"]
    assert encoded.positions(0) == [1, 2, 3]
    assert not encoded.truncated
    arrays = encoded.arrays(8)
    assert list(arrays) == ["input_ids", "attention_mask", "token_type_ids"]
    assert all((array.dtype, array.shape) == (np.int32, (1, 8)) for array in arrays.values())
    expected = numbers("[CLS]", "a", "good", "film", "[SEP]", "[PAD]", "[PAD]", "[PAD]")
    assert arrays["input_ids"].tolist() == [expected]
    assert arrays["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]]
    assert not arrays["token_type_ids"].any()


def test_question_and_context() -> None:
    encoded = TextEncoder(TOKENIZER, 8, pairs=True).encode("who ?", "bob was born in the film")
    assert encoded.tokens == ["[CLS]", "who", "?", "[SEP]", "bob", "was", "born", "[SEP]"]
    assert encoded.truncated
    assert encoded.arrays(8)["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert encoded.positions(1) == [4, 5, 6]
    assert encoded.offsets[5] == (4, 7)  # in the context


def test_padding_of_other_tokenisers() -> None:
    fields = json.loads(TOKENIZER)
    fields["padding"] = {
        "strategy": {"Fixed": 20},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 4,
        "pad_type_id": 0,
        "pad_token": "[MASK]",
    }
    encoded = TextEncoder(json.dumps(fields).encode(), 16).encode("good")
    assert encoded.arrays(4)["input_ids"].tolist() == [numbers("[CLS]", "good", "[SEP]", "[MASK]")]
    del fields["padding"], fields["model"]["vocab"]["[PAD]"]
    with pytest.raises(ModelFileError, match="no padding token"):
        TextEncoder(json.dumps(fields).encode(), 16)


@settings(deadline=None, max_examples=50)
@given(
    words=st.lists(
        st.sampled_from(["good", "abc", "é", "x" * 200, "\n\n"]), min_size=1, max_size=60
    ),
    repeat=st.sampled_from([1, 50]),
)
def test_cutting_long_texts_changes_nothing(words: list[str], repeat: int) -> None:
    """The first tokens of a very long text are those of the whole text."""
    text = " ".join(words * repeat)
    encoder = TextEncoder(TOKENIZER, 16)
    if not text.strip():
        return
    encoded = encoder.encode(text)
    whole = encoder._tokenizer.encode(text)
    assert (encoded.ids, encoded.offsets) == (whole.ids, whole.offsets)
    assert encoded.truncated == bool(whole.overflowing)


def test_long_blank_start() -> None:
    encoded = TextEncoder(TOKENIZER, 16).encode(" " * 10_000 + "good")
    assert encoded.tokens == ["[CLS]", "good", "[SEP]"]


def test_very_long_text_costs_little() -> None:
    text = "good abc " * 1_000_000
    encoder = TextEncoder(TOKENIZER, 16)
    start = time.process_time()
    assert encoder.encode(text).truncated
    assert time.process_time() - start < 0.5  # 8 s if all of it were tokenised


@pytest.mark.parametrize("text", [None, 3, b"good", ["good"], ("a", "b")])
def test_what_is_no_text(text: object) -> None:
    with pytest.raises(TextError, match="must be a string, not"):
        TextEncoder(TOKENIZER, 16).encode(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"null", TOKENIZER[:-9]])
def test_what_is_no_tokeniser(content: bytes) -> None:
    with pytest.raises(ModelFileError, match="not understood by tokenizers"):
        TextEncoder(content, 16)
