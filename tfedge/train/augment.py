"""More training texts out of few: words replaced by their neighbours in the embedding table, or by any.

After TinyBERT's data augmentation (Jiao et al. 2020, algorithm 1), with the teacher's own word
embeddings for finding similar words; the teacher labels the result, so a wrong word does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    """The nearest tokens by cosine similarity.

    Args:
        embeddings: float (vocabulary, C).
        token_ids: the tokens to find neighbours for, (n,).
        candidates: whether each token may be a neighbour, bool (vocabulary,).

    Returns:
        Token ids (vocabulary, count); the token itself where it was not asked for or where there
        are fewer candidates.
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
    special = tokenizer.get_added_tokens_decoder()
    return np.array(
        [
            number not in special and not token.startswith("[unused")
            for number, token in enumerate(vocabulary(tokenizer))
        ]
    )


def random_tokens(ordinary: np.ndarray, share: float) -> Augment | None:
    """Replaces half of the tokens of some batches by any others of the vocabulary.

    Neighbours make likely texts; this reaches every row of the table, as pruning it needs, which
    takes weights of the rows of words that the texts lack as of all others.

    Args:
        ordinary: which tokens are replaced and put in, bool (vocabulary,).
        share: of the batches that are changed, 0..1.
    """
    if share == 0:
        return None
    candidates = np.flatnonzero(ordinary)

    def augment(batch: Batch, generator: np.random.Generator) -> Batch:
        if generator.random() >= share:
            return batch
        ids = batch["input_ids"]
        chosen = (generator.random(ids.shape) < _RANDOM) & ordinary[ids]
        others = generator.choice(candidates, ids.shape)
        return {**batch, "input_ids": np.where(chosen, others, ids).astype(np.int32)}

    return augment


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
    """Replaces words of some batches by random neighbours.

    Args:
        table: from `neighbours`.
        replaceable: whether each token may be replaced, bool (vocabulary,).
        share: of the batches that are changed, 0..1.
        probability: of each replaceable token in them to be replaced, 0..1.
    """

    def augment(batch: Batch, generator: np.random.Generator) -> Batch:
        if generator.random() >= share:
            return batch
        ids = batch["input_ids"]
        chosen = (generator.random(ids.shape) < probability) & replaceable[ids]
        replacement = table[ids, generator.integers(0, table.shape[1], ids.shape)]
        return {**batch, "input_ids": np.where(chosen, replacement, ids).astype(np.int32)}

    return augment
