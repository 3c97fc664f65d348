"""How many tokens of each of two texts a model reads, as `tokenizers` and transformers cut them."""

from __future__ import annotations

from collections.abc import Sequence

# What is cut of two texts that do not fit, in the words of transformers.
LONGEST_FIRST, ONLY_FIRST = "longest_first", "only_first"


def kept_of_two(counts: Sequence[int], room: int, strategy: str) -> tuple[int, int]:
    """The tokens that are left of two texts.

    Source: `truncate_encodings` of tokenizers 0.23 (tokenizers/src/utils/truncation.rs).

    Args:
        counts: tokens of each, without special ones.
        room: tokens that both may have together.

    Raises:
        ValueError: there is no room for the text that is not to be cut, and some of the other.
    """
    first, second = counts
    if room < 0:
        raise ValueError("the special tokens alone are too many")
    if first + second <= room:
        return first, second
    if strategy == ONLY_FIRST:
        if second >= room:
            raise ValueError("the second text leaves no room for the first")
        return room - second, second
    less = min(first, second, room // 2)
    return (room - less, less) if first > second else (less, room - less)


def is_settled(counts: Sequence[int], is_whole: Sequence[bool], room: int, strategy: str) -> bool:
    """Whether `kept_of_two` is what it is of the whole texts, of which `counts` may be a part only."""
    if any(count <= room for count, whole in zip(counts, is_whole) if not whole):
        return False
    # Of two texts that are both longer than half of the room the longer one has one token more where
    # the room is odd; of two equally long ones the second has.
    is_even = strategy == ONLY_FIRST or room % 2 == 0
    return is_even or is_whole[0 if counts[0] <= counts[1] else 1]
