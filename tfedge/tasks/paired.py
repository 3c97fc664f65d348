"""Labels that two models gave to the same, counted in pairs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Labels = Sequence[Sequence[str | None]]  # of each text; None where a model gave none


def paired(answers: Labels, others: Labels, truth: Labels | None) -> dict[str, Any]:
    """How often two models agree, and which of them is right where they do not.

    Returns:
        `compared`, the number of labels, and how many of them are the `same`. Where the truth is
        known, how many are `both_right`, `only_this_right` and `only_other_right`, and `p_value`: how
        likely chance alone divides the texts so unevenly into those that one model labels better and
        those that the other does, by the two-sided sign test. With one label a text that is
        McNemar's exact test. Labels within one text depend on each other, so texts are what it
        counts.
    """
    texts = [
        list(itertools.zip_longest(ours, theirs))
        for ours, theirs in zip(answers, others, strict=True)
    ]
    figures: dict[str, Any] = {
        "compared": sum(map(len, texts)),
        "same": sum(ours == theirs for text in texts for ours, theirs in text),
    }
    if truth is None:
        return figures
    from scipy.stats import binomtest

    rights = [
        [(ours == right, theirs == right) for (ours, theirs), right in zip(text, true, strict=True)]
        for text, true in zip(texts, truth, strict=True)
    ]
    counts = Counter(itertools.chain(*rights))
    gains = [sum(ours - theirs for ours, theirs in text) for text in rights]
    better, uneven = sum(gain > 0 for gain in gains), sum(gain != 0 for gain in gains)
    return figures | {
        "both_right": counts[True, True],
        "only_this_right": counts[True, False],
        "only_other_right": counts[False, True],
        "p_value": float(binomtest(better, uneven).pvalue) if uneven else 1.0,
    }


def lines(figures: Mapping[str, Any], unit: str, other: str) -> list[str]:
    """What `paired` gives, for people; `other` names the second model."""
    found = f"{figures['same']} of {figures['compared']} {unit} alike"
    if "p_value" in figures:
        found += (
            f"; both right {figures['both_right']}, this alone {figures['only_this_right']}, {other} "
            f"alone {figures['only_other_right']} (sign test: p = {figures['p_value']:.2g})"
        )
    return [found]
