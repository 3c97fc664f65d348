"""Reads what rerankers are measured on as sentence-transformers has it: a query and lists of texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tfedge.data.rows import Table
from tfedge.errors import InputError
from tfedge.tasks.columns import RELEVANCE

_QUERY, _POSITIVE, _NEGATIVE, _DOCUMENTS = "query", "positive", "negative", "documents"


def apart(rows: Table, source: str) -> Table:
    """A row a candidate, `query`, `passage` and `relevance`, 1 or 0, where rows have `query` and a list
    `positive`, with `negative` or `documents` beside it; other rows as they are.

    Of `documents`, all that a search has found, those that are not in `positive` are not relevant, as
    CrossEncoderRerankingEvaluator has it. Raises InputError where a row lacks one of them.
    """
    if not {_QUERY, _POSITIVE} <= set(rows[0]) or not isinstance(rows[0][_POSITIVE], list):
        return rows
    samples = enumerate(rows, 1)
    return Table(row for number, sample in samples for row in _rows(sample, source, number))


def _rows(sample: Mapping[str, Any], source: str, number: int) -> Iterator[dict[str, Any]]:
    query, relevant = sample.get(_QUERY), _texts(sample, _POSITIVE)
    others = _texts(sample, _NEGATIVE if _NEGATIVE in sample else _DOCUMENTS)
    if not isinstance(query, str) or relevant is None or others is None or not relevant + others:
        raise InputError(
            f"{source}, row {number}: a query with candidates is a text {_QUERY!r}, a list of texts "
            f"{_POSITIVE!r} and another {_NEGATIVE!r} (or {_DOCUMENTS!r}: all that were found), of "
            "which one may be empty"
        )
    rest = [text for text in others if _NEGATIVE in sample or text not in relevant]
    for passages, relevance in ((relevant, 1.0), (rest, 0.0)):
        for passage in passages:
            yield {_QUERY: query, "passage": passage, RELEVANCE: relevance}


def _texts(sample: Mapping[str, Any], name: str) -> list[str] | None:
    """The list of texts in a column; None where it is none."""
    found = sample.get(name)
    if isinstance(found, list) and all(isinstance(text, str) for text in found):
        return found
    return None
