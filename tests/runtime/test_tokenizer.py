"""Texts to input arrays."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
import toys as toy_builder
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tfedge.runtime import ModelFileError, TextError
from tfedge.runtime import tokenizer as module
from tfedge.runtime.tokenizer import MAX_CHARACTERS, TextEncoder

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


PIECES = st.lists(st.sampled_from(["good", "abc", "x" * 30, "\n\n", "a"]), max_size=40)


@settings(deadline=None, max_examples=100)
@given(first=PIECES, second=PIECES, length=st.integers(4, 12), repeat=st.sampled_from([1, 9]))
@pytest.mark.parametrize("strategy", ["longest_first", "only_first"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_pairs_are_truncated_as_tokenizers_truncates_whole_texts(
    side: str, strategy: str, first: list[str], second: list[str], length: int, repeat: int
) -> None:
    """Every field of an encoding, of texts that are cut to a few characters at first."""
    pair = " ".join(first * repeat), " ".join(second)
    library = Tokenizer.from_buffer(TOKENIZER)
    library.enable_truncation(length, strategy=strategy, direction=side)
    encoder = TextEncoder(library.to_str().encode(), length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHARACTERS_A_TOKEN", 2)
        try:
            whole = library.encode(*pair)
        except Exception as error:  # tokenizers raises this bare type
            assert "too short" in str(error)
            with pytest.raises(TextError, match="no room for the text"):
                encoder._encode_pair(pair, strategy)
            return
        ours = encoder._encode_pair(pair, strategy)
    assert (ours.ids, ours.type_ids, ours.tokens) == (whole.ids, whole.type_ids, whole.tokens)
    assert (ours.offsets, ours.sequence) == (whole.offsets, whole.sequence_ids)
    assert ours.truncated == bool(whole.overflowing)


def test_two_texts() -> None:
    encoder = TextEncoder(TOKENIZER, 8)
    encoded = encoder.encode("who ?", "bob was born in the film")
    assert encoded.tokens == ["[CLS]", "who", "?", "[SEP]", "bob", "was", "born", "[SEP]"]
    assert encoded.arrays(8)["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]
    assert encoded.truncated
    text, pair = encoder.encode_batch(["a film", ("a", "film")])
    assert text.tolist() == numbers("[CLS]", "a", "film", "[SEP]")
    expected = numbers("[CLS]", "a", "[SEP]", "film", "[SEP]")
    assert pair.tolist() == [list(row) for row in zip(expected, [0, 0, 0, 1, 1], strict=True)]


@pytest.mark.parametrize(
    ("pair", "length", "reason"),
    [
        (("", "good"), 8, "the text is empty"),
        (("good", " "), 8, "the second text is empty"),
        (("good", "\u200b"), 8, "the second text has only characters that the tokeniser drops"),
        (("good", "good"), 4, "no room for the text: 4 tokens are all the model takes"),
        (("good", "good"), 2, "no room for the text: 2 tokens are all the model takes"),
    ],
)
def test_pairs_that_cannot_be_answered(pair: tuple[str, str], length: int, reason: str) -> None:
    with pytest.raises(TextError, match=reason):
        TextEncoder(TOKENIZER, length).encode(*pair)


def test_very_long_pairs_cost_little() -> None:
    """A part of each text for each part of the other would be gigabytes."""
    text = "good abc " * 1_000_000
    encoder = TextEncoder(TOKENIZER, 16)
    start = time.process_time()
    for pair in ((text, "good"), ("good", text), (text, "good " * 2000)):
        assert len(encoder.encode(*pair)) == len(encoder.encode_batch([pair])[0]) == 16
    assert time.process_time() - start < 0.5


def test_long_blank_start() -> None:
    encoded = TextEncoder(TOKENIZER, 16).encode(" " * 10_000 + "good")
    assert encoded.tokens == ["[CLS]", "good", "[SEP]"]
    encoded = TextEncoder(TOKENIZER, 16).encode("\n" + "?" * 10_000)
    assert encoded.offsets[1:3] == [(1, 2), (2, 3)]


class Counting:
    """Remembers how many characters the library was given."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner, self.characters = inner, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode(self, text: str, *others: Any, **options: Any) -> Any:
        self.characters += len(text)
        return self.inner.encode(text, *others, **options)


@pytest.mark.parametrize("rest", [" good" * 1_000_000, "\u65e5" * 2_000_000])
def test_what_follows_a_very_long_word_is_read_in_part(rest: str) -> None:
    """9,000 letters are one token, so that the first cut does not fill the model."""
    encoder = TextEncoder(TOKENIZER, 128)
    encoder._tokenizer = counting = Counting(encoder._tokenizer)
    encoded = encoder.encode("a" * 9000 + rest)
    assert encoded.truncated and len(encoded) == 128
    assert encoded.ids == TextEncoder(TOKENIZER, 128).encode("a" * 9000 + rest[:2000]).ids
    assert counting.characters < 100_000


@pytest.mark.parametrize("filler", ["a", "\u0301", " "])
def test_no_end_of_characters_for_no_end_of_a_token(filler: str) -> None:
    encoder = TextEncoder(TOKENIZER, 128)
    encoder._tokenizer = counting = Counting(encoder._tokenizer)
    with pytest.raises(TextError, match="are fewer than 128 tokens: a word or a blank of such"):
        encoder.encode("a" + filler * 4_000_000 + "b")
    assert counting.characters < 2 * MAX_CHARACTERS
    assert (
        encoder.encode("a good film").ids == TextEncoder(TOKENIZER, 128).encode("a good film").ids
    )


def test_the_end_of_no_more_than_is_allowed() -> None:
    fields = json.loads(TOKENIZER)
    fields["truncation"] = {
        "direction": "Left",
        "max_length": 8,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    encoder = TextEncoder(json.dumps(fields).encode(), 8)
    assert encoder.encode("bad " * 1000 + "good film").tokens[-3:] == ["good", "film", "[SEP]"]
    with pytest.raises(TextError, match="524,288 are allowed where its end is kept"):
        encoder.encode("bad " * MAX_CHARACTERS)


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
