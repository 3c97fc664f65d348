"""Vocabularies with fewer pieces cut the texts that need no other piece as the whole ones do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import byte_level
import pytest
import toys
import unigram
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tfedge.data.pieces import Pieces, chosen
from tfedge.data.recut import compare
from tfedge.data.texts import Texts
from tfedge.errors import CheckpointError
from tfedge.progress import unheard

LETTERS = "abc"
WORDS = st.text(LETTERS, min_size=1, max_size=10)
SCORES = st.sampled_from([-1.0, -2.0, -3.0, -5.0, -30.0, -31.0, -100.0])
MANY = settings(max_examples=300, deadline=None)


def word_piece(known: Sequence[str]) -> Tokenizer:
    """A WordPiece of some words, of which some may only go on."""
    names = ["[UNK]", "[CLS]", *dict.fromkeys(known)]
    made = Tokenizer(models.WordPiece(dict(zip(names, range(99), strict=False)), unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(["[UNK]", "[CLS]"])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 1)]
    )
    return made


def bpe(merges: Sequence[tuple[int, int]], suffix: str = "") -> Tokenizer:
    """A BPE; each merge is of two pieces that are there before it, by their places."""
    known = ["<unk>", *LETTERS, *(f"{letter}{suffix}" for letter in LETTERS if suffix)]
    pairs: list[tuple[str, str]] = []
    for first, second in merges:
        pair = known[1 + first % (len(known) - 1)], known[1 + second % (len(known) - 1)]
        if pair not in pairs and not (suffix and pair[0].endswith(suffix)):
            pairs.append(pair)
            known += [] if "".join(pair) in known else ["".join(pair)]
    model = models.BPE(
        {piece: index for index, piece in enumerate(known)},
        pairs,
        unk_token="<unk>",
        **({"end_of_word_suffix": suffix} if suffix else {}),
    )
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<unk>"])
    return made


def one_gram(scores: dict[str, float]) -> Tokenizer:
    """A Unigram of pieces with their scores."""
    made = Tokenizer(models.Unigram([("<unk>", 0.0), *scores.items()], unk_id=0))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<unk>"])
    return made


def cut_for(made: Tokenizer, texts: Sequence[str], others: Sequence[int] = ()) -> tuple[Any, Any]:
    """The tokeniser with the pieces of `texts` and `others` alone, and the new numbers."""
    pieces = Pieces(made)
    ranked = [*pieces.count(texts, unheard), *(index for index in others if index in pieces.by_id)]
    kept = chosen(pieces, ranked, None, set(pieces.needed))
    return pieces.cut(kept), {old: new for new, old in enumerate(kept)}


def holds(made: Tokenizer, text: str, others: Sequence[int]) -> None:
    """Whether a text is cut as before where its own pieces stay, and any others."""
    cut, new = cut_for(made, [text], others)
    before, after = made.encode(text), cut.encode(text)
    assert [new[index] for index in before.ids] == after.ids
    assert before.tokens == after.tokens and before.offsets == after.offsets


@MANY
@given(
    known=st.lists(st.tuples(st.booleans(), WORDS), max_size=12),
    text=st.lists(WORDS, min_size=1, max_size=3),
    others=st.sets(st.integers(0, 20)),
)
def test_word_piece_takes_the_longest_that_it_took(
    known: list[tuple[bool, str]], text: list[str], others: set[int]
) -> None:
    marked = [f"##{word}" if inner else word for inner, word in known]
    made = word_piece([*LETTERS, *(f"##{letter}" for letter in LETTERS), *marked])
    holds(made, " ".join(text), sorted(others))


@MANY
@given(
    merges=st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), max_size=14),
    text=st.lists(WORDS, min_size=1, max_size=3),
    others=st.sets(st.integers(0, 20)),
    suffix=st.sampled_from(["", "</w>"]),
)
def test_bpe_keeps_the_way_to_each_piece(
    merges: list[tuple[int, int]], text: list[str], others: set[int], suffix: str
) -> None:
    holds(bpe(merges, suffix), " ".join([*text, "x"]), sorted(others))


@MANY
@given(
    scores=st.dictionaries(WORDS, SCORES, max_size=12),
    text=st.text(f"{LETTERS}d", min_size=1, max_size=14),
    others=st.sets(st.integers(0, 20)),
)
@example({"a": -100.0, "ab": -30.0, "cd": -30.0, "bcd": -1.0}, "abcd", set())
@example({"a": -1.0, "ab": -2.0, "b": -1.0, "aba": -3.0, "ba": -2.0}, "abaab", {3})
def test_unigram_keeps_the_best_sum(scores: dict[str, float], text: str, others: set[int]) -> None:
    """Letters without a piece are unknown; equal sums are frequent."""
    holds(one_gram(scores), text, sorted(others))


def test_unigram_would_leave_characters_unknown_without_the_least_score() -> None:
    """Else what is unknown costs less than the piece that was there: the first example above."""
    scores = {"a": -100.0, "ab": -30.0, "cd": -30.0, "bcd": -1.0}
    assert one_gram(scores).encode("abcd").tokens == ["ab", "cd"]
    del scores["a"]
    assert one_gram(scores).encode("abcd").tokens == ["a", "bcd"]  # "a" stands for <unk>
    assert one_gram(scores).encode("abcd").ids[0] == 0


@pytest.mark.parametrize("kind", ["byte-level", "xlm-roberta", "camembert", "word-piece"])
def test_real_kinds(kind: str) -> None:
    """With all that stands around their models; special tokens keep their places."""
    special = unigram.CAMEMBERT if kind == "camembert" else unigram.SPECIAL
    made = {
        "byte-level": byte_level.tokenizer,
        "xlm-roberta": unigram.tokenizer,
        "camembert": lambda: unigram.tokenizer(special),
        "word-piece": lambda: Tokenizer.from_str(toys.tokenizer_json().decode()),
    }[kind]()
    texts = ["the film is good", "ada was bad ."]
    cut, new = cut_for(made, texts)
    assert cut.get_vocab_size() < made.get_vocab_size()
    for text in texts:
        assert cut.encode(text).ids == [new[index] for index in made.encode(text).ids]
        assert cut.encode(text, text).type_ids == made.encode(text, text).type_ids
        assert cut.decode(cut.encode(text).ids) == made.decode(made.encode(text).ids)
    if kind != "word-piece":
        assert [cut.id_to_token(index) for index in range(len(special))] == [
            made.id_to_token(index) for index in range(len(special))
        ]
        assert cut.encode("a<mask>").tokens == made.encode("a<mask>").tokens
    if kind == "byte-level":  # every text can still be spelt
        assert cut.decode(cut.encode("日本 🐌").ids) == "日本 🐌"


def test_as_many_as_there_is_room_for() -> None:
    made = bpe([(0, 1), (3, 2), (4, 0)])  # ab, abc, abca
    pieces = Pieces(made)
    ids = pieces.ids
    whole = {ids[piece] for piece in ("a", "b", "c", "ab", "abc", "abca")}
    assert pieces.closure(ids["abca"]) == whole
    assert pieces.count(["abca abca ab"], unheard) == [ids["abca"], ids["ab"]]
    ranked, needed = [ids["abca"], ids["ab"]], set(pieces.needed)
    assert chosen(pieces, ranked, None, needed) == sorted(whole | needed)
    # There is no room for the longer one and all that it is made of.
    left = chosen(pieces, ranked, 4, needed)
    assert left == sorted({ids["<unk>"], ids["a"], ids["b"], ids["ab"]})
    assert pieces.cut(left).encode("abca").tokens == ["ab", "<unk>", "a"]
    assert pieces.spelling([ids["abca"]]) == [ids["a"], ids["b"], ids["c"]]


def test_what_pieces_stand_for() -> None:
    pieces = Pieces(Tokenizer.from_str(toys.tokenizer_json().decode()))
    assert pieces.text(pieces.ids["##a"]) == "a" and pieces.text(pieces.ids["film"]) == "film"
    assert pieces.spelling([pieces.ids["bob"]]) == [
        pieces.ids[name] for name in ("b", "##b", "o", "##o")
    ]
    pieces = Pieces(byte_level.tokenizer(["é é é film film"]))
    assert pieces.text(pieces.ids["Ġfilm"]) == " film"
    assert pieces.text(pieces.ids["Ã©"]) == "é"
    assert pieces.text(pieces.ids["Ã"]) is None
    pieces = Pieces(unigram.tokenizer())
    assert pieces.text(pieces.ids["▁fi"]) == " fi"
    order = pieces.in_order()
    scores = [pieces._model["vocab"][index][1] for index in order]
    assert scores == sorted(scores, reverse=True) and len(order) == len(pieces.ids)


def test_what_texts_lose() -> None:
    """By hand: of "aab" nothing is left but letters, "c" is unknown, and "ab" is as it was."""
    made = word_piece(["a", "ab", "aab", "c", "##a", "##b"])
    pieces = Pieces(made)
    kept = [pieces.ids[piece] for piece in ("[UNK]", "[CLS]", "a", "ab", "##a", "##b")]
    cut, new = pieces.cut(kept), {old: index for index, old in enumerate(kept)}
    texts = Texts(["ab", "aab ab", "c ab", "d"], None, "by hand")
    loss = compare(made, cut, new, texts, unheard)
    assert (loss.texts, loss.same_texts) == (4, 2)
    characters = 2 + 5 + 3 + 1
    assert loss.unknown == pytest.approx(1 / characters)
    assert loss.cut_otherwise == pytest.approx(3 / characters)
    assert (loss.tokens_before, loss.tokens_after) == (1 + 2 + 2 + 1, 1 + 4 + 2 + 1)


def test_what_cannot_be_cut() -> None:
    made = byte_level.tokenizer()
    made.add_tokens(["new"])
    pieces = Pieces(made)
    assert pieces.cut(sorted(pieces.needed)).token_to_id("new") == len(pieces.needed) - 1
    with pytest.raises(CheckpointError, match="leave gaps, which tokenizers would close"):
        pieces.cut([-1, *sorted(pieces.needed)])  # nothing is called 0
