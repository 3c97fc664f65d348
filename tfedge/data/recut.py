"""What a vocabulary with fewer pieces makes of texts that the whole one had cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from tokenizers import Encoding, Tokenizer

from tfedge.data.pieces import Pieces
from tfedge.data.texts import Texts
from tfedge.progress import Progress

_BATCH = 8192  # texts that are compared at once


@dataclasses.dataclass(frozen=True)
class Loss:
    """What texts lose: shares are 0..1 of their characters, blanks aside."""

    source: str
    texts: int
    same_texts: int  # cut into the same pieces as before
    unknown: float  # share of characters that are unknown now and were not before
    cut_otherwise: float  # share of characters whose pieces are others now, shorter ones mostly
    tokens_before: int  # of all texts, without special ones
    tokens_after: int


def compare(
    before: Tokenizer, after: Tokenizer, new: Mapping[int, int], texts: Texts, progress: Progress
) -> Loss:
    """Cuts texts by both tokenisers, without special tokens around them.

    Args:
        new: the number after of each number before that is left.
        texts: single ones.
        progress: told how many more texts have been cut.
    """
    unknown, unknown_now = Pieces(before).unknown, Pieces(after).unknown
    characters = lost = changed = same = 0
    tokens = np.zeros(2, np.int64)
    for start in range(0, len(texts), _BATCH):
        batch = texts.texts[start : start + _BATCH]
        old, cut = (
            found.encode_batch(batch, add_special_tokens=False) for found in (before, after)
        )
        for text, one, other in zip(batch, old, cut, strict=True):
            tokens += len(one), len(other)
            is_letter = np.array([not char.isspace() for char in text], bool)
            characters += int(is_letter.sum())
            if [new.get(index) for index in one.ids] == other.ids:
                same += 1
                continue
            is_lost = _covered(other, unknown_now, text) & ~_covered(one, unknown, text)
            lost += int((is_lost & is_letter).sum())
            changed += int((_changed(one, other, new, text) & ~is_lost & is_letter).sum())
        progress(len(batch))
    share = 1 / max(characters, 1)
    return Loss(texts.source, len(texts), same, lost * share, changed * share, *tokens.tolist())


def _covered(encoding: Encoding, token: int | None, text: str) -> np.ndarray:
    """Which characters a token stands for, bool (len(text),)."""
    found = np.zeros(len(text), bool)
    for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
        if index == token:
            found[start:end] = True
    return found


def _changed(old: Encoding, cut: Encoding, new: Mapping[int, int], text: str) -> np.ndarray:
    """Which characters have lost the piece that they were in, bool (len(text),)."""
    left = set(zip(cut.ids, cut.offsets, strict=True))
    found = np.zeros(len(text), bool)
    for index, (start, end) in zip(old.ids, old.offsets, strict=True):
        if (new.get(index), (start, end)) not in left:
            found[start:end] = True
    return found
