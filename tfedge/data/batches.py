"""Batches of token ids, fixed length for calibration and grouped by length for training; of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from tfedge.runtime import tokenizer
from tfedge.runtime.masks import ASKED

Batch = dict[str, np.ndarray]
PIXELS = "pixel_values"

# An image has as many tokens as a long text, and calibration keeps every tensor of a batch.
_TEXTS_AT_ONCE, _IMAGES_AT_ONCE = 32, 4


def as_inputs(samples: Sequence[np.ndarray], length: int, names: Sequence[str]) -> Batch:
    """The model's named inputs for some samples.

    Args:
        samples: token ids of texts, int32 (n,) each, or pixels of images, uint8 (height, width, 3).
        length: tokens of the graph.

    Returns:
        `pixel_values`, float32 (len(samples), height, width, 3), or see `pad`.
    """
    if PIXELS in names:
        return {PIXELS: np.stack(samples).astype(np.float32)}
    return pad(samples, length, names)


def batches_of_equals(
    samples: Sequence[np.ndarray], names: Sequence[str]
) -> Iterator[tuple[list[int], Batch]]:
    """Batches of texts of equal length without padding, or of images: positions and inputs."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        by_length[len(sample)].append(index)
    batch_size = _IMAGES_AT_ONCE if PIXELS in names else _TEXTS_AT_ONCE
    for length, group in sorted(by_length.items()):
        for start in range(0, len(group), batch_size):
            indices = group[start : start + batch_size]
            yield indices, as_inputs([samples[index] for index in indices], length, names)


def pad(
    sequences: Sequence[np.ndarray], length: int, names: Sequence[str], pad_id: int = 0
) -> Batch:
    """The model's named inputs, int32 (len(sequences), length) each, padded as a board does.

    Args:
        sequences: as `tfedge.runtime.tokenizer.TextEncoder.encode_batch` gives them, or that of
            `tfedge.runtime.masks` where a position is asked.
        names: `input_ids`, `attention_mask` and, if the model has it, `token_type_ids`, or `asked`.
    """
    batch = tokenizer.pad(sequences, length, pad_id)
    if ASKED in names:
        batch[ASKED] = np.array([[int(one[0, 2])] * length for one in sequences], np.int32)
    return {name: batch[name] for name in names}


def grouped_by_length(
    lengths: Sequence[int], batch_size: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """One epoch of indices in batches of texts of about equal length, in random order.

    Texts are shuffled, sorted within pools of 64 batches, and the batches shuffled again: little
    padding without the same neighbours in each epoch.
    """
    order = generator.permutation(len(lengths))
    pool = 64 * batch_size
    sizes = np.asarray(lengths)
    batches = []
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        part = part[np.argsort(sizes[part], kind="stable")]
        batches += [part[at : at + batch_size] for at in range(0, len(part), batch_size)]
    for index in generator.permutation(len(batches)):
        yield batches[index]


def padded_length(
    lengths: Sequence[int] | np.ndarray, multiple: int = 8, limit: int | None = None
) -> int:
    """The longest of `lengths`, rounded up to at most `limit`, so that few different shapes occur."""
    padded = -(-int(max(lengths)) // multiple) * multiple
    return padded if limit is None else min(padded, limit)
