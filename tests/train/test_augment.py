"""Word substitution: only ordinary words change, into their nearest neighbours, as the seed says."""

from __future__ import annotations

import numpy as np
import pytest
import toys
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from tfedge.data.batches import Batch, pad
from tfedge.train.augment import (
    chained,
    neighbours,
    ordinary_tokens,
    random_tokens,
    whole_words,
    word_substitution,
)
from tfedge.train.training import Augment

NAMES = ("input_ids", "attention_mask", "token_type_ids")


def batch(seed: int = 0, size: int = len(toys.VOCABULARY)) -> Batch:
    """Every token of the vocabulary somewhere, in rows of different lengths."""
    random = np.random.RandomState(seed)
    order = random.permutation(size)
    return pad(np.split(order.astype(np.int32), [3, 20, 41, 70]), 32, NAMES)


def test_whole_words_are_ordinary_ones() -> None:
    tokens = ["[CLS]", "[unused1]", "film", "##ing", "a", "é", "café", "x2", "...", "日本", ""]
    words = whole_words(tokens)
    assert [token for token, is_word in zip(tokens, words, strict=True) if is_word] == [
        "film",
        "café",
        "日本",
    ]


@given(seed=st.integers(0, 999), count=st.integers(1, 5))
def test_neighbours_are_those_of_brute_force(seed: int, count: int) -> None:
    random = np.random.RandomState(seed)
    embeddings = random.normal(size=(40, 6)).astype(np.float32)
    candidates = random.random(40) < 0.5
    asked = np.flatnonzero(random.random(40) < 0.5)
    table = neighbours(embeddings, asked, candidates, count)
    assert table.shape == (40, count)
    assert table.dtype == np.int32
    for token in range(40):
        if token not in asked:
            assert table[token].tolist() == [token] * count
            continue
        cosine = {
            other: embeddings[token]
            @ embeddings[other]
            / np.linalg.norm(embeddings[token])
            / np.linalg.norm(embeddings[other])
            for other in np.flatnonzero(candidates)
            if other != token
        }
        nearest = sorted(cosine, key=lambda other: -cosine[other])[:count]
        assert set(table[token]) == {*nearest, *([token] if len(nearest) < count else [])}


def test_neighbours_in_more_rows_than_one_product_takes() -> None:
    embeddings = np.random.RandomState(0).normal(size=(2600, 3)).astype(np.float32)
    everything = np.ones(2600, bool)
    table = neighbours(embeddings, np.arange(2600), everything, 1)[:, 0]
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    assert np.array_equal(table, similarity.argmax(1))


def test_few_candidates_are_all_there_is() -> None:
    """A vocabulary with fewer words than neighbours asked for: no other token stands in."""
    embeddings = np.eye(4, dtype=np.float32) + 0.1
    table = neighbours(embeddings, np.array([0, 1]), np.array([True, True, False, False]), count=8)
    assert set(table[0]) == {0, 1}
    assert set(table[1]) == {0, 1}


def test_only_whole_words_are_replaced_and_only_by_neighbours() -> None:
    words = whole_words(toys.VOCABULARY)
    embeddings = np.random.RandomState(0).normal(size=(len(words), 4))
    table = neighbours(embeddings, np.flatnonzero(words), words, 3)
    change = word_substitution(table, words, share=1.0, probability=1.0)
    given_batch = batch()
    changed = change(given_batch, np.random.default_rng(0))
    before, after = given_batch["input_ids"], changed["input_ids"]
    assert after.dtype == np.int32
    assert np.array_equal(before != after, words[before])
    assert words[after[before != after]].all()
    for old, new in zip(before[before != after], after[before != after], strict=True):
        assert new in table[old]
    for name in ("attention_mask", "token_type_ids"):
        assert np.array_equal(changed[name], given_batch[name])


@pytest.mark.parametrize(("share", "probability"), [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_changes_where_nothing_is_to(share: float, probability: float) -> None:
    everything = np.ones(len(toys.VOCABULARY), bool)
    table = np.zeros((len(everything), 1), np.int32)
    change = word_substitution(table, everything, share, probability)
    for seed in range(20):
        changed = change(batch(seed), np.random.default_rng(seed))
        assert np.array_equal(changed["input_ids"], batch(seed)["input_ids"])


def test_shares_are_kept() -> None:
    everything = np.ones(len(toys.VOCABULARY), bool)
    table = np.full((len(everything), 1), -1, np.int32)
    change = word_substitution(table, everything, share=0.5, probability=0.25)
    generator = np.random.default_rng(0)
    parts = [float((change(batch(), generator)["input_ids"] == -1).mean()) for _ in range(400)]
    assert np.mean([part > 0 for part in parts]) == pytest.approx(0.5, abs=0.08)
    assert np.mean([part for part in parts if part]) == pytest.approx(0.25, abs=0.02)


def test_equal_seeds_give_equal_batches() -> None:
    words = whole_words(toys.VOCABULARY)
    table = np.random.RandomState(0).randint(0, len(words), (len(words), 8)).astype(np.int32)
    change = word_substitution(table, words, share=0.5, probability=0.5)
    runs = [
        [change(batch(), np.random.default_rng(seed))["input_ids"].tolist() for seed in range(8)]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len({str(ids) for ids in runs[0]}) > 2


def test_ordinary_tokens_are_what_texts_hold() -> None:
    names = ["<pad>", "[unused1]", "[CLS]", "film", "##ing", "[", "é"]
    tokenizer = Tokenizer(models.WordPiece({name: number for number, name in enumerate(names)}))
    tokenizer.add_special_tokens(["<pad>", "[CLS]"])
    ordinary = ordinary_tokens(tokenizer)
    assert np.array(names)[ordinary].tolist() == ["film", "##ing", "[", "é"]


def test_random_tokens_reach_all_and_leave_the_special_ones() -> None:
    ordinary = np.arange(len(toys.VOCABULARY)) % 5 > 0
    augment = random_tokens(ordinary, share=1.0)
    assert augment is not None
    generator = np.random.default_rng(0)
    seen: set[int] = set()
    for seed in range(40):
        given = batch(seed)
        ids = augment(given, generator)["input_ids"]
        changed = ids != given["input_ids"]
        assert ids.dtype == np.int32
        assert ordinary[given["input_ids"][changed]].all()
        assert ordinary[ids[changed]].all()
        seen |= set(ids[changed].tolist())
    assert seen == set(np.flatnonzero(ordinary).tolist())


def test_nothing_to_change() -> None:
    assert random_tokens(np.array([True]), share=0.0) is None
    assert chained(None, None) is None


def test_one_after_the_other() -> None:
    def plus(number: int) -> Augment:
        return lambda batch, generator: {"input_ids": batch["input_ids"] * 10 + number}

    augment = chained(plus(1), None, plus(2))
    assert augment is not None
    ids = np.array([[3, 4]], np.int32)
    changed = augment({"input_ids": ids}, np.random.default_rng(0))
    assert changed["input_ids"].tolist() == [[312, 412]]


def test_random_tokens_change_half_of_a_share_of_the_batches() -> None:
    ordinary = np.ones(len(toys.VOCABULARY), bool)
    augment = random_tokens(ordinary, share=0.5)
    assert augment is not None
    given = batch()
    shares = []
    for seed in range(200):
        ids = augment(given, np.random.default_rng(seed))["input_ids"]
        again = augment(given, np.random.default_rng(seed))["input_ids"]
        assert (ids == again).all()
        shares.append(float((ids != given["input_ids"]).mean()))
    changed = [share for share in shares if share]
    assert len(changed) == pytest.approx(100, abs=25)
    assert np.mean(changed) == pytest.approx(0.5, abs=0.05)
