"""Labels that two models gave to the same, counted in pairs."""

from __future__ import annotations

import itertools
import math
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


def newcombe(figures: Mapping[str, Any]) -> tuple[float, float]:
    """The 95 % interval of how many points the second model is better, of what `paired` gives with the
    truth known.

    Newcombe, Improved confidence intervals for the difference between binomial proportions based on
    paired data, Statistics in Medicine 17 (1998), method 10 (Wilson's intervals, squared and added).
    """
    from scipy.stats import binomtest

    count, both = figures["compared"], figures["both_right"]
    rights = both + figures["only_other_right"], both + figures["only_this_right"]
    neither = count - sum(rights) + both
    (p1, low1, high1), (p2, low2, high2) = (
        (right / count, *binomtest(right, count).proportion_ci(method="wilson")) for right in rights
    )
    spread = math.prod(n * (count - n) for n in rights)
    alike = both * neither - figures["only_other_right"] * figures["only_this_right"]
    alike = max(alike - count / 2, 0) if alike > 0 else alike
    phi = alike / math.sqrt(spread) if spread else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(a * a - 2 * phi * a * b + b * b)

    low = p1 - p2 - reach(p1 - low1, high2 - p2)
    return 100 * low, 100 * (p1 - p2 + reach(high1 - p1, p2 - low2))


def lines(figures: Mapping[str, Any], unit: str, other: str) -> list[str]:
    """What `paired` gives, for people; `other` names the second model."""
    found = f"{figures['same']} of {figures['compared']} {unit} alike"
    if "p_value" in figures:
        found += (
            f"; both right {figures['both_right']}, this alone {figures['only_this_right']}, {other} "
            f"alone {figures['only_other_right']} (sign test: p = {figures['p_value']:.2g})"
        )
    return [found]
