"""Which labels are taken for which others: of few labels the whole table, of many the worst pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

MOST_LABELS = 12  # whose confusion is shown as a whole
_PAIRS = 10


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two labels by their indices: how many of the texts of one are taken for the other."""

    true: int
    found: int
    texts: int
    of: int


def worst_pairs(confusion: np.ndarray) -> list[Pair]:
    """At most ten labels and others that they are taken for, those with most texts first.

    Args:
        confusion: int (L, L), whose rows are true labels and columns predicted ones.
    """
    wrong = _wrong(confusion)
    places = np.argsort(-wrong, axis=None, kind="stable")[: min(_PAIRS, np.count_nonzero(wrong))]
    pairs = [divmod(int(place), len(confusion)) for place in places]
    return [
        Pair(true, found, int(wrong[true, found]), int(confusion[true].sum()))
        for true, found in pairs
    ]


def shown_labels(confusion: np.ndarray) -> list[int]:
    """All labels where these are few; else as many of the worst pairs, those of a pair side by side."""
    if len(confusion) <= MOST_LABELS:
        return list(range(len(confusion)))
    found: list[int] = []
    for pair in worst_pairs(confusion):
        both = [one for one in (pair.true, pair.found) if one not in found]
        if len(found) + len(both) <= MOST_LABELS:
            found += both
    return found


def lines(labels: Sequence[str], confusion: np.ndarray) -> list[str]:
    """The confusion (L, L) for people."""
    return (_table if len(labels) <= MOST_LABELS else _worst)(labels, confusion)


def _wrong(confusion: np.ndarray) -> np.ndarray:
    return confusion * ~np.eye(len(confusion), dtype=bool)


def _table(labels: Sequence[str], confusion: np.ndarray) -> list[str]:
    corner = "true, predicted:"
    width = max(map(len, [*labels, corner]))
    each = max(10, *(len(label) + 2 for label in labels))
    table = [(corner, labels), *zip(labels, confusion.tolist(), strict=True)]
    return [
        "".join([f"{name:<{width}}", *(f"{cell:>{each}}" for cell in cells)])
        for name, cells in table
    ]


def _worst(labels: Sequence[str], confusion: np.ndarray) -> list[str]:
    pairs = worst_pairs(confusion)
    if not pairs:
        return []
    width = max(len(labels[index]) for pair in pairs for index in (pair.true, pair.found)) + 2
    return [
        f"the worst {len(pairs)} of {np.count_nonzero(_wrong(confusion))} confusions:",
        *(
            f"  {labels[pair.true]:<{width}}taken for {labels[pair.found]:<{width}}"
            f"{pair.texts:>5} of {pair.of}"
            for pair in pairs
        ),
    ]
