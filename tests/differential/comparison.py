"""Where tfedge and transformers do not say the same of a drawn checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

TOLERANCE = 1e-4
Json = dict[str, Any]


@dataclasses.dataclass
class Found:
    """What a comparison found, a line each.

    Attributes:
        differences: of tfedge from transformers 5, or where that has no pipeline from 4.
        versions: texts of which transformers 4 and 5 make other tokens, so that tfedge can only agree
            with one, 5.
        unanswered: texts that tfedge refuses.
    """

    differences: list[str] = dataclasses.field(default_factory=list)
    versions: list[str] = dataclasses.field(default_factory=list)
    unanswered: list[str] = dataclasses.field(default_factory=list)


def compare(job: Json, ours: Json, five: Json, four: Json) -> Found:
    """Args: what `asked.answers` and, of both versions, `transformers_answers.py` found."""
    found = Found()
    for name, side in (("5", five), ("4", four)):
        if "error" in side:
            found.differences.append(f"transformers {name} fails: {side['error']}")
    if found.differences:
        return found
    is_pair = job["task"] == "question-answering"
    theirs = (four if is_pair else five)["answers"]
    for index, item in enumerate(job["items"]):
        text, mine = f"{item!r:.200}", ours["answers"][index]
        ids, old = five["ids"][index], four["ids"][index]
        is_typed = five["types"][index] == four["types"][index]
        if ids != old or not is_typed:
            found.versions.append(f"{text}: ids {ids}, of version 4 {old}; types too: {is_typed}")
        if isinstance(mine, dict) and "error" in mine:
            found.unanswered.append(f"{text}: {mine['error']}")
        elif is_pair:
            if ids == old:
                found.differences += [f"{text}: {line}" for line in _spans(mine, theirs[index])]
        elif ids == old and not is_typed:
            # What models were trained with is version 4's, which has other pipelines.
            continue
        elif ours["ids"][index] != ids:
            found.differences.append(f"{text}: ids {ours['ids'][index]}, of transformers {ids}")
        else:
            lines = _COMPARED[job["task"]](mine, theirs[index])
            found.differences += [f"{text}: {line}" for line in lines]
    return found


def _scores(ours: Any, theirs: Any) -> Iterator[str]:
    # By their order, which a regression of tfedge gives as the labels'.
    mine, other = (sorted(side, key=lambda one: -one[1]) for side in (ours, theirs))
    if sorted(label for label, _ in mine) != sorted(label for label, _ in other):
        yield f"labels {mine}, of transformers {other}"
        return
    gaps = [abs(score - dict(other)[label]) for label, score in mine]
    if max(gaps) > TOLERANCE:
        yield f"scores {mine}, of transformers {other}"


def _entities(ours: Any, theirs: Any) -> Iterator[str]:
    for strategy, other in theirs.items():
        mine = ours[strategy]
        same = [one[:3] for one in mine] == [one[:3] for one in other]
        if not same or not _near([one[3] for one in mine], [one[3] for one in other]):
            yield f"{strategy}: {mine}, of transformers {other}"


def _spans(ours: Any, theirs: Any) -> Iterator[str]:
    for way, other in theirs.items():
        mine = ours[way]
        # Of two spans that are as likely either will do.
        same = mine[:3] == other[:3] or abs(mine[3] - other[3]) < 1e-6
        if not same or not _near([mine[3]], [other[3]]):
            yield f"{way}: {mine}, of transformers {other}"


def _vectors(ours: Any, theirs: Any) -> Iterator[str]:
    if not _near(ours, theirs):
        norms = np.linalg.norm(ours) * np.linalg.norm(theirs)
        yield f"embeddings have the cosine {np.dot(ours, theirs) / norms:.6f}, {ours[:2]} {theirs[:2]}"


def _near(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    return bool(np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE))


def _ways(ours: Any, theirs: Any) -> Iterator[str]:
    for way, other in theirs.items():
        yield from (f"{way}: {line}" for line in _scores(ours[way], other))


_COMPARED = {
    "text-classification": _scores,
    "token-classification": _entities,
    "sentence-embedding": _vectors,
    "zero-shot-classification": _ways,
}
