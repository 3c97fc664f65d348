"""Batches: every text once an epoch, neighbours of about one length, padding that is masked."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfedge.data.batches import grouped_by_length, pad, padded_length

_lengths = st.lists(st.integers(3, 60), min_size=1, max_size=300)
_sizes = st.integers(1, 40)
_seeds = st.integers(0, 2**32 - 1)


def _epoch(lengths: list[int], size: int, seed: int) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [batch.tolist() for batch in grouped_by_length(lengths, size, generator)]


@given(_lengths, _sizes, _seeds)
def test_every_index_once_an_epoch(lengths: list[int], size: int, seed: int) -> None:
    batches = _epoch(lengths, size, seed)
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    # At most one is not full.
    assert sum(len(batch) != size for batch in batches) <= 1
    assert max(map(len, batches)) <= size


@given(_lengths, _sizes, _seeds)
def test_equal_seeds_give_equal_epochs(lengths: list[int], size: int, seed: int) -> None:
    assert _epoch(lengths, size, seed) == _epoch(lengths, size, seed)


def test_other_seeds_give_other_epochs() -> None:
    lengths = list(range(3, 103))
    epochs = [_epoch(lengths, 8, seed) for seed in range(5)]
    assert all(a != b for i, a in enumerate(epochs) for b in epochs[i + 1 :])


@given(_lengths, _sizes, _seeds)
def test_batches_of_a_pool_do_not_overlap_in_length(
    lengths: list[int], size: int, seed: int
) -> None:
    """All of these are one pool, so sorting by length leaves no two batches interleaved."""
    lengths = lengths[: 64 * size]
    spans = sorted(
        (min(lengths[index] for index in batch), max(lengths[index] for index in batch))
        for batch in _epoch(lengths, size, seed)
    )
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_batches_come_in_random_order() -> None:
    lengths = list(range(3, 403))
    shortest = [min(batch) for batch in _epoch(lengths, 8, seed=0)]
    assert shortest != sorted(shortest)
    assert shortest != sorted(shortest, reverse=True)


@given(st.lists(st.lists(st.integers(1, 999), min_size=1, max_size=9), min_size=1, max_size=9))
def test_padding_is_zero_and_masked(rows: list[list[int]]) -> None:
    names = ("input_ids", "attention_mask", "token_type_ids")
    batch = pad([np.array(row, np.int32) for row in rows], 10, names)
    assert tuple(batch) == names
    for name in names:
        assert batch[name].shape == (len(rows), 10)
        assert batch[name].dtype == np.int32
    assert batch["attention_mask"].sum(1).tolist() == [len(row) for row in rows]
    for ids, mask, row in zip(batch["input_ids"], batch["attention_mask"], rows, strict=True):
        assert ids[mask == 1].tolist() == row
        assert not ids[mask == 0].any()
        assert np.all(np.diff(mask) <= 0)  # padding is at the end
    assert not batch["token_type_ids"].any()


def test_only_the_inputs_asked_for() -> None:
    assert list(pad([np.ones(2, np.int32)], 4, ("attention_mask", "input_ids"))) == [
        "attention_mask",
        "input_ids",
    ]


@given(st.lists(st.integers(1, 200), min_size=1), st.sampled_from([1, 8, 16]))
def test_padded_length_is_the_next_multiple(lengths: list[int], multiple: int) -> None:
    padded = padded_length(lengths, multiple)
    assert padded % multiple == 0
    assert 0 <= padded - max(lengths) < multiple


@pytest.mark.parametrize(("longest", "expected"), [(12, 16), (16, 16), (17, 20), (20, 20)])
def test_padded_length_stays_within_the_limit(longest: int, expected: int) -> None:
    """A model of 20 positions takes 20 tokens, not the next multiple of 8."""
    assert padded_length([3, longest], limit=20) == expected
