"""How well objects are found: average precision, as COCO has it (Lin et al. 2014, arXiv:1405.0312)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfedge.runtime.tasks.base import Answer
from tfedge.runtime.tasks.object_detection import ENDS

# `label` and `box` as of an answer; of what is found `score`, of what is there maybe `crowd`, which may
# be found any number of times, or not.
Object = Mapping[str, Any]
OVERLAPS = np.linspace(0.5, 0.95, 10)
_MOST = 100  # of what is found in an image, the likeliest of each label
_RECALLS = np.linspace(0, 1, 101)
_KEPT = 1 << 14  # images whose boxes are matched once for many figures, as a bootstrap wants


class Matched(NamedTuple):
    """What is found of one label in one image, n objects at all of `OVERLAPS`."""

    scores: np.ndarray  # (n,)
    right: np.ndarray  # bool (overlaps, n): of an object that is there and not found yet
    counts: np.ndarray  # bool (overlaps, n): not in a crowd


def precisions(answers: Sequence[Answer], truth: Sequence[Sequence[Object]]) -> dict[str, Any]:
    """Means over the labels that are there: `average_precision`, of overlaps from 0.5 to 0.95, and
    `average_precision_50`, of 0.5; 0 where nothing is there.

    An image without an answer is one in which nothing is found.
    """
    found: dict[str, list[Matched]] = defaultdict(list)
    there: Counter[str] = Counter()
    for answer, objects in zip(answers, truth, strict=True):
        there.update(item["label"] for item in objects if not item.get("crowd"))
        for label, matched in _known(answer, objects).items():
            found[label].append(matched)
    each = [_average(found.get(label, []), count) for label, count in there.items()]
    mean = np.mean(each, axis=0) if each else np.zeros(len(OVERLAPS))
    return {
        "images": len(truth),
        "objects": there.total(),
        "categories": len(there),
        "average_precision": float(mean.mean()),
        "average_precision_50": float(mean[0]),
    }


def shared(found: Sequence[Object], others: Sequence[Object]) -> float:
    """The share of the objects of two answers that are in both, of one label and with boxes that
    overlap by half; 1 where there are none."""
    if not found and not others:
        return 1.0
    matched = _matched(found, others).values()
    return 2 * sum(int(each.right[0].sum()) for each in matched) / (len(found) + len(others))


_matches: dict[tuple[int, int], tuple[Answer, Sequence[Object], dict[str, Matched]]] = {}


def _known(answer: Answer, objects: Sequence[Object]) -> dict[str, Matched]:
    """`_matched`, computed once for the same objects of Python, which are kept for as long."""
    key = id(answer), id(objects)
    if key not in _matches:
        if len(_matches) >= _KEPT:
            _matches.clear()
        _matches[key] = answer, objects, _matched(answer.get("objects", ()), objects)
    return _matches[key][2]


def _matched(found: Sequence[Object], there: Sequence[Object]) -> dict[str, Matched]:
    """What of one image is right, by label; the likeliest first."""
    result = {}
    for label in {item["label"] for item in found}:
        own = sorted((each for each in found if each["label"] == label), key=lambda x: -x["score"])
        own = own[:_MOST]
        # Those that do not count come last, and are taken where no other is.
        wanted = sorted(
            (each for each in there if each["label"] == label),
            key=lambda each: bool(each.get("crowd")),
        )
        crowds = np.array([bool(each.get("crowd")) for each in wanted], bool)
        overlaps = _overlaps(_corners(own), _corners(wanted), crowds)
        pairs = [_assigned(overlaps, crowds, least) for least in OVERLAPS]
        taken = np.array(pairs).reshape(len(OVERLAPS), len(own))
        is_crowd = np.append(crowds, False)[taken]  # -1 is none
        scores = np.array([each["score"] for each in own])
        result[label] = Matched(scores, (taken >= 0) & ~is_crowd, ~is_crowd)
    return result


def _assigned(overlaps: np.ndarray, crowds: np.ndarray, least: float) -> list[int]:
    """Which of what is there each of what is found is, -1 for none, of `overlaps` (found, there)."""
    free = np.ones(len(crowds), bool)
    taken = []
    for row in overlaps:
        fits = free & (row >= least)
        if (fits & ~crowds).any():
            fits &= ~crowds
        best = int(np.where(fits, row, -1.0).argmax()) if fits.any() else -1
        if best >= 0 and not crowds[best]:
            free[best] = False
        taken.append(best)
    return taken


def _corners(objects: Sequence[Object]) -> np.ndarray:
    """Float64 (n, 4), as `ENDS`."""
    rows = [[each["box"][end] for end in ENDS] for each in objects]
    return np.array(rows, np.float64).reshape(-1, len(ENDS))


def _overlaps(found: np.ndarray, there: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """What boxes (n, 4) and (m, 4) have in common, as a share of what they are together, (n, m); of a
    crowd, of what is found."""
    low = np.maximum(found[:, None, :2], there[None, :, :2])
    high = np.minimum(found[:, None, 2:], there[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas, others = ((part[:, 2:] - part[:, :2]).prod(axis=1) for part in (found, there))
    total = np.where(crowds, areas[:, None], areas[:, None] + others - common)
    return np.asarray(common / np.maximum(total, np.finfo(float).tiny))


def _average(parts: Sequence[Matched], count: int) -> np.ndarray:
    """The average precision of one label at each overlap, of what is found in all images where so many
    are there: the mean of the best precision from each of 101 recalls on, (overlaps,)."""
    if not parts:
        return np.zeros(len(OVERLAPS))
    order = np.argsort(-np.concatenate([part.scores for part in parts]), kind="stable")
    right = np.concatenate([part.right for part in parts], axis=1)[:, order].cumsum(axis=1)
    all_found = np.concatenate([part.counts for part in parts], axis=1)[:, order].cumsum(axis=1)
    precision = right / np.maximum(all_found, 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.pad(best, ((0, 0), (0, 1)))  # recalls that are never reached
    averages = []
    for row, recall in zip(best, right / count, strict=True):
        averages.append(row[np.searchsorted(recall, _RECALLS, side="left")].mean())
    return np.array(averages)
