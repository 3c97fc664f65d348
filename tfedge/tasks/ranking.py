"""Lists of candidates for a query, as rerankers order them, and how good the order is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from tfedge.tasks.base import Figures, Rows

NDCG, MRR, QUERIES = "ndcg_at_10", "mrr_at_10", "queries"
_TOP = 10  # places that count
_RELEVANT = 0.5  # of a label: from here on a candidate is relevant, 1 of 0 and 1, 1 to 3 of 0 to 3
_IN_LISTS = 2 / 3  # of the rows: texts repeat by chance in pairs of other kinds too
_DISCOUNTS = 1 / np.log2(np.arange(_TOP) + 2)


class Candidate(float):
    """How relevant a candidate is, a number, to the query of its list."""

    query: Hashable

    def __new__(cls, relevance: float, query: Hashable) -> Self:
        made = super().__new__(cls, relevance)
        made.query = query
        return made


def queries(rows: Rows) -> list[Hashable] | None:
    """The first text of each row, where rows are lists of candidates for these; else None.

    They are where two thirds of the rows have a first text that stands there more than once. Neither
    case nor blanks count.
    """
    from tfedge.tasks import columns

    if not rows.are_pairs:
        return None
    found = [columns.key(first) for first, _ in rows.items]
    counts = Counter(found)
    repeated = sum(count for count in counts.values() if count > 1)
    return [*found] if repeated >= _IN_LISTS * len(found) else None


def candidates(rows: Rows, numbers: Sequence[float]) -> Sequence[float]:
    """The numbers of rows as candidates, where rows are lists of them, in one of which some are
    relevant and some are not; else as they are. A number below 0 is no relevance."""
    found = queries(rows)
    if found is None or min(numbers) < 0:
        return numbers
    sides = {(query, number >= _RELEVANT) for query, number in zip(found, numbers, strict=True)}
    if len(sides) == len(set(found)):
        return numbers
    return list(map(Candidate, numbers, found))


def figures(truth: Sequence[float], scores: np.ndarray) -> Figures:
    """How well scores order lists of candidates; empty where the truth is not of `candidates`.

    As CrossEncoderRerankingEvaluator of sentence-transformers has them: the mean over the queries, 0
    for one without a relevant candidate. A single candidate has no order and is left out.

    Returns:
        `queries`, how many lists there are; `mrr_at_10`, the inverse rank of the first relevant
        candidate, 0 where it is not among the first ten; `ndcg_at_10`, see `ndcg`.
    """
    lists: dict[Hashable, list[int]] = {}
    for place, one in enumerate(truth):
        if isinstance(one, Candidate):
            lists.setdefault(one.query, []).append(place)
    relevance = np.asarray(truth, np.float64)
    places = [found for found in lists.values() if len(found) > 1]
    if not places:
        return {}
    each = [(relevance[found], scores[found]) for found in places]
    return {
        QUERIES: len(each),
        MRR: float(np.mean([reciprocal_rank(found >= _RELEVANT, given) for found, given in each])),
        NDCG: float(np.mean([ndcg(found, given) for found, given in each])),
    }


def ndcg(relevance: np.ndarray, scores: np.ndarray) -> float:
    """Normalised discounted cumulative gain of the first ten of a list, (n,) each, 0 to 1.

    As ndcg_score of scikit-learn: gains are the relevances themselves, and those of equal scores their
    mean. 0 where nothing is relevant.
    """
    best = _discounted(np.sort(relevance)[::-1])
    _, group, count = np.unique(-scores, return_inverse=True, return_counts=True)
    gains = (np.bincount(group, relevance) / count)[np.sort(group)]
    return _discounted(gains) / best if best else 0.0


def _discounted(gains: np.ndarray) -> float:
    return float(gains[:_TOP] @ _DISCOUNTS[: len(gains)])


def reciprocal_rank(is_relevant: np.ndarray, scores: np.ndarray) -> float:
    """The inverse rank of the first relevant candidate of a list, (n,) each, 0 behind the tenth.

    Of equal scores, which integers give often, it is the mean over all orders of these.
    """
    if not is_relevant.any():
        return 0.0
    highest = scores[is_relevant].max()
    above, equal = int((scores > highest).sum()), scores == highest
    tied, relevant = int(equal.sum()), int((equal & is_relevant).sum())
    return sum(
        math.comb(tied - place - 1, relevant - 1) / math.comb(tied, relevant) / (above + place + 1)
        for place in range(tied - relevant + 1)
        if above + place < _TOP
    )
