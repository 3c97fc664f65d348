"""A question and a long context to windows, against the library's own way to cut with a stride."""

from __future__ import annotations

import pytest
import tokenizers
import toys as toy_builder
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge.runtime import TextError
from tfedge.runtime.windows import MAX_CHARACTERS, MAX_OVERLAP, MAX_WINDOWS, PairEncoder

TOKENIZER = toy_builder.tokenizer_json()
TEXTS = st.lists(
    st.sampled_from(["good", "xyz", "Ada", "é,", "born.", "in\n", "film"]), min_size=1, max_size=70
).map(" ".join)


def test_two_windows() -> None:
    """Two of eight places are left for the context; 2 * 7 // 8 = 1 is shared, not half of eight."""
    encoded = PairEncoder(TOKENIZER, 8).encode("who is ?", "bob was")
    assert encoded.more == ()
    encoded = PairEncoder(TOKENIZER, 8).encode("who is ?", "bob was in film")
    question = ["[CLS]", "who", "is", "?", "[SEP]"]
    assert [window.tokens for window in encoded.windows] == [
        [*question, "bob", "was", "[SEP]"],
        [*question, "was", "in", "[SEP]"],
        [*question, "in", "film", "[SEP]"],
    ]


@settings(deadline=None, max_examples=150)
@given(
    question=st.integers(1, 12),
    context=TEXTS,
    length=st.sampled_from([16, 24, 32]),
    side=st.sampled_from(["left", "right"]),
)
def test_windows(question: int, context: str, length: int, side: str) -> None:
    library = tokenizers.Tokenizer.from_buffer(TOKENIZER)
    library.enable_truncation(length, direction=side)
    encoder = PairEncoder(library.to_str().encode(), length)
    around = question + 3  # [CLS] question [SEP] context [SEP]
    encoded = encoder.encode("who " * question, context)
    whole = tokenizers.Tokenizer.from_buffer(TOKENIZER).encode("who " * question, context)
    assert not encoded.truncated
    assert all(len(window) <= length for window in encoded.windows)
    assert len(encoded) == max(map(len, encoded.windows))
    if len(whole.ids) <= length:
        assert encoded.more == ()
        assert encoded.ids == whole.ids
        return
    overlap = min(length // 2, MAX_OVERLAP, (length - around) * 7 // 8)
    parts = [[window.ids[at] for at in window.positions(1)] for window in encoded.windows]
    if side == "left":
        assert parts[0][-1] == whole.ids[-2]
        parts.reverse()
    joined = parts[0]
    for part in parts[1:]:
        assert joined[len(joined) - overlap :] == part[:overlap]
        assert len(part) > overlap
        joined = joined + part[overlap:]
    assert joined == whole.ids[around - 1 : -1]
    arrays = encoded.arrays(length)
    assert all(array.shape == (len(parts), length) for array in arrays.values())
    assert arrays["attention_mask"].sum(1).tolist() == [len(window) for window in encoded.windows]

    options = {"stride": overlap, "strategy": "only_second", "direction": side}
    library.enable_truncation(length, **options)
    first = library.encode("who " * question, context)
    expected = [first, *first.overflowing]
    assert [window.ids for window in encoded.windows] == [one.ids for one in expected]
    assert [window.type_ids for window in encoded.windows] == [one.type_ids for one in expected]
    assert [window.offsets for window in encoded.windows] == [one.offsets for one in expected]
    assert [window.sequence for window in encoded.windows] == [one.sequence_ids for one in expected]
    for window, one in zip(encoded.windows, expected, strict=True):
        for at in window.positions(1):
            assert window.words[at] == one.word_to_chars(one.token_to_word(at), 1)


def test_transformers_shares_128_tokens_at_384() -> None:
    first, second, *_ = PairEncoder(TOKENIZER, 384).encode("who ?", "a b c d " * 200).windows
    assert len(first) == len(second) == 384
    assert first.offsets[-129:-1] == second.offsets[4:132]
    assert first.offsets[-129] == (2 * (379 - 128), 2 * (379 - 128) + 1)  # 384 - 5 fit


def test_words_end_with_their_window() -> None:
    """As `Encoding.word_to_chars` of a window has them, by which transformers' pipeline goes."""
    encoded = PairEncoder(TOKENIZER, 8).encode("who ?", "bob xyz12")
    first, second = encoded.windows[:2]
    assert first.tokens[4:] == ["bob", "x", "##y", "[SEP]"]
    assert first.words == [(0, 0), (0, 3), (4, 5), (0, 0), (0, 3), (4, 6), (4, 6), (0, 0)]
    assert second.tokens[4:] == ["x", "##y", "##z", "[SEP]"]
    assert second.words[4:] == [(4, 7)] * 3 + [(0, 0)]


def test_what_is_too_long() -> None:
    encoder = PairEncoder(TOKENIZER, 16)
    # 16 - 5 tokens fit, of which a window shares 8 with the one before it.
    most = 11 + (MAX_WINDOWS - 1) * 3
    assert len(encoder.encode("who ?", "a " * most).windows) == MAX_WINDOWS
    for context in ("a " * (most + 1), "a " * 50_000):
        with pytest.raises(TextError, match=r"more than 512 windows of 16 tokens"):
            encoder.encode("who ?", context)
    with pytest.raises(TextError, match=rf"{MAX_CHARACTERS + 1} characters"):
        encoder.encode("who ?", "a" * (MAX_CHARACTERS + 1))
    with pytest.raises(TextError, match=r"the question has 1025 characters and 1024 are allowed"):
        encoder.encode("a" * 1025, "bob was")
    with pytest.raises(TextError, match=r"the context has 60000 characters"):
        encoder.encode("who ?", "각" * 60_000)  # of which NFD makes 540,000 bytes
    with pytest.raises(TextError, match="leaves no room for the context: 16 tokens"):
        encoder.encode("who " * 13, "bob was")
    assert len(encoder.encode("who " * 12, "bob was").windows) == 2
