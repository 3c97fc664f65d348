"""More training texts out of few: words replaced by their neighbours in the embedding table, or by any.

After TinyBERT's data augmentation (Jiao et al. 2020, algorithm 1), with the teacher's own word
embeddings for finding similar words; the teacher labels the result, so a wrong word does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tokenizers import Tokenizer

from tfedge.data.batches import Batch
from tfedge.data.tokenizer import vocabulary
from tfedge.train.training import Augment

_ROWS_AT_A_TIME = 1024  # 1024 x 30,522 similarities are 125 MB
_RANDOM = 0.5


def neighbours(
    embeddings: np.ndarray, token_ids: np.ndarray, candidates: np.ndarray, count: int = 8
) -> np.ndarray:
    """The nearest tokens, by cosine of `embeddings` (vocabulary, C), of the tokens `token_ids` (n,).

    Args:
        candidates: whether each token may be a neighbour, bool (vocabulary,).

    Returns:
        Token ids (vocabulary, count); a token itself where its neighbours were not asked for, or are
        fewer.
    """
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-9)
    table = np.repeat(np.arange(len(unit), dtype=np.int32)[:, None], count, axis=1)
    for start in range(0, len(token_ids), _ROWS_AT_A_TIME):
        rows = token_ids[start : start + _ROWS_AT_A_TIME]
        similarity = unit[rows] @ unit.T
        similarity[:, ~candidates] = -np.inf
        similarity[np.arange(len(rows)), rows] = -np.inf
        nearest = np.argpartition(-similarity, min(count, len(unit) - 1), axis=1)[:, :count]
        found = np.isfinite(np.take_along_axis(similarity, nearest, axis=1))
        table[rows, : nearest.shape[1]] = np.where(found, nearest, rows[:, None])
    return table


def whole_words(vocabulary: Sequence[str]) -> np.ndarray:
    """Whether each token is an ordinary word of its own, bool (vocabulary,)."""
    return np.array([len(token) > 1 and token.isalpha() for token in vocabulary])


def ordinary_tokens(tokenizer: Tokenizer) -> np.ndarray:
    """Whether each token may stand in a text, unlike [CLS] and [unused1], bool (vocabulary,)."""
    special, tokens = tokenizer.get_added_tokens_decoder(), enumerate(vocabulary(tokenizer))
    return np.array([n not in special and not token.startswith("[unused") for n, token in tokens])


def random_tokens(ordinary: np.ndarray, share: float) -> Augment | None:
    """Replaces half of the `ordinary` tokens of a share of the batches by any others of these.

    Neighbours make likely texts; this reaches every row of the table, also those of words that the
    texts lack, which pruning takes weights of as well.
    """
    candidates = np.flatnonzero(ordinary)

    def draw(ids: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return generator.choice(candidates, ids.shape)

    return _replacing(ordinary, share, _RANDOM, draw) if share else None


def chained(*augments: Augment | None) -> Augment | None:
    """One after the other; None where all are."""
    steps = [augment for augment in augments if augment]

    def augment(batch: Batch, generator: np.random.Generator) -> Batch:
        for step in steps:
            batch = step(batch, generator)
        return batch

    return augment if steps else None


def word_substitution(
    table: np.ndarray, replaceable: np.ndarray, share: float, probability: float
) -> Augment:
    """Replaces words of a share of the batches by random neighbours.

    Args:
        table: from `neighbours`.
        replaceable: which tokens are replaced, with `probability` each, bool (vocabulary,).
    """

    def draw(ids: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return table[ids, generator.integers(0, table.shape[1], ids.shape)]

    return _replacing(replaceable, share, probability, draw)


def _replacing(
    replaceable: np.ndarray,
    share: float,
    probability: float,
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray],
) -> Augment:
    def augment(batch: Batch, generator: np.random.Generator) -> Batch:
        if generator.random() >= share:
            return batch
        ids = batch["input_ids"]
        chosen = (generator.random(ids.shape) < probability) & replaceable[ids]
        replaced = np.where(chosen, draw(ids, generator), ids).astype(np.int32)
        return {**batch, "input_ids": replaced}

    return augment
