"""A label for what is none of the others, given where no other is sure enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfedge.errors import InputError
from tfedge.tasks import columns

RECALL, PRECISION, INSIDE = "out_of_scope_recall", "out_of_scope_precision", "in_scope_accuracy"


def place(label: str, labels: Sequence[str]) -> int:
    """The index of the label; raises InputError where it is none of them."""
    keys = [columns.key(name) for name in labels]
    if columns.key(label) not in keys:
        raise InputError(
            f"--out-of-scope {label} is none of the labels, which are {columns.quoted(labels)}"
        )
    return keys.index(columns.key(label))


def shift(logits: np.ndarray, truth: np.ndarray, index: int) -> float:
    """What is added to the bias of the label `index` so that its F1 is best.

    It is then given where no other logit is larger: with weights of zero where the largest logit is
    below a threshold (Hendrycks et al. 2022, arXiv:1911.11132, section 3), which any runtime does.

    Args:
        logits: (n, L) of held-out texts.
        truth: (n,), their labels' indices.
    """
    others = np.delete(logits, index, axis=1).max(axis=1)
    margins = logits[:, index] - others
    order = np.argsort(-margins, kind="stable")
    hits = np.cumsum(truth[order] == index)
    counts = np.arange(1, len(hits) + 1)
    f1 = 2 * hits / (counts + hits[-1])
    # Between equal margins no threshold can be.
    margins = np.append(margins[order], margins[order[-1]] - 1.0)
    f1[margins[:-1] == margins[1:]] = -1.0
    best = int(np.argmax(f1))
    return -float(margins[best] + margins[best + 1]) / 2


def figures(confusion: Sequence[Sequence[int]], index: int) -> dict[str, float | None]:
    """How well the label `index` was told from all others, shares 0..1 or None of nothing: recall and
    precision, and how many texts of the other labels got their own.

    Args:
        confusion: (L, L), whose rows are true labels.
    """
    counts = np.asarray(confusion)
    right = np.diag(counts)
    inside = np.arange(len(counts)) != index

    def share(part: Any, whole: Any) -> float | None:
        return float(part / whole) if whole else None

    return {
        RECALL: share(right[index], counts[index].sum()),
        PRECISION: share(right[index], counts[:, index].sum()),
        INSIDE: share(right[inside].sum(), counts[inside].sum()),
    }


def line(found: Mapping[str, float | None]) -> str:
    """`figures` in words."""
    recall, precision, inside = (
        "-" if (share := found[name]) is None else f"{100 * share:.2f} %"
        for name in (RECALL, PRECISION, INSIDE)
    )
    return f"out of scope: recall {recall}, precision {precision}; the other labels: {inside} right"
