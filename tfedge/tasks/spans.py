"""Entities that are marked by their places in a text, as labels of words."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tfedge.errors import InputError

NAMES = ("entities", "spans")  # of the column
OUTSIDE = "O"
_WORD = re.compile(r"\w+|[^\w\s]")
_Span = tuple[int, int, str]  # the first character, the one behind the last, and the type


def tagged(text: str, marks: Any, where: str) -> list[tuple[int, str]]:
    """Where each word begins and its label in IOB2; a word is also cut where an entity begins or ends.

    Args:
        marks: a list of [start, end, type], as spaCy and doccano write them, or of objects with
            `start`, `end` and `label` (or `type`), in characters.
        where: the row, for messages; raises InputError for marks that are none, outside of the text,
            or over each other.
    """
    spans = sorted(_span(mark, text, where) for mark in _list(marks, where))
    for one, other in itertools.pairwise(spans):
        if other[0] < one[1]:
            raise InputError(
                f"{where}: the entities {text[one[0] : one[1]]!r:.40} and "
                f"{text[other[0] : other[1]]!r:.40} overlap, and a word has one label: keep one of them"
            )
    ends = {end for start, stop, _ in spans for end in (start, stop)}
    begins = sorted(
        {match.start() for match in _WORD.finditer(text)}
        | {end for end in ends if end < len(text) and not text[end].isspace()}
    )
    kinds: dict[int, str] = {}
    for start, end, kind in spans:
        within = begins[bisect.bisect_left(begins, start) : bisect.bisect_left(begins, end)]
        kinds |= {begin: f"{'I' if number else 'B'}-{kind}" for number, begin in enumerate(within)}
    return [(begin, kinds.get(begin, OUTSIDE)) for begin in begins]


def _list(marks: Any, where: str) -> Sequence[Any]:
    if isinstance(marks, list):
        return marks
    raise InputError(f"{where}: {marks!r:.40} is no list of entities; give [] where there are none")


def _span(mark: Any, text: str, where: str) -> _Span:
    values: Sequence[Any] = ()
    if isinstance(mark, Mapping):
        values = [mark.get("start"), mark.get("end"), mark.get("label", mark.get("type"))]
    elif isinstance(mark, list):
        values = mark
    if (
        len(values) == 3
        and all(type(value) is int for value in values[:2])
        and isinstance(values[2], str)
        and 0 <= values[0] < values[1] <= len(text)
        and text[values[0] : values[1]].strip()
    ):
        return (values[0], values[1], values[2])
    raise InputError(
        f"{where}: {mark!r:.60} is no entity of a text of {len(text)} characters; give [start, end, "
        "type], or an object with start, end and label"
    )
