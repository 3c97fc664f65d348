"""Which task rows of data are for, where nobody says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfedge.tasks import columns, spans
from tfedge.tasks.columns import ColumnNames

USUAL = "text-classification"
OF_IMAGES = "image-classification"
_TAGS = ("tags", "ner_tags", *spans.NAMES)


def task_of(rows: Sequence[Mapping[str, Any]], named: ColumnNames) -> str:
    """The name of a task for which rows have the truth: by their columns and what stands in them.

    Words with labels are for token-classification, a question and a context with answers for
    question-answering, several labels a row for text-multi-label, numbers that are no whole ones for
    text-regression, relevances of 0 to 1 for text-scoring and others for text-regression, an anchor
    and a positive for sentence-embedding, all others for text-classification.
    """
    names = rows[0].keys()
    label = named.label_column
    if label is None:
        label = next((name for name in (*columns.LABEL, *_TAGS) if name in names), None)
    text = named.text_column or columns.WORDS
    values = [row.get(label) for row in rows] if label is not None else []
    if any(isinstance(row.get(text), list) for row in rows) or label in spans.NAMES:
        return "token-classification"
    if {"question", "context"} <= set(names) and any(name in names for name in columns.ANSWERS):
        return "question-answering"
    if any(isinstance(value, list) and len(value) != 1 for value in values):
        return "text-multi-label"
    if set(columns.PAIRS[-1]) <= set(names):
        return "sentence-embedding"
    if label is None and columns.RELEVANCE in names:
        return _by_relevance([row.get(columns.RELEVANCE) for row in rows])
    if label is None:
        scores = [name for name in columns.SCORE if name in names]
        values = [row.get(name) for name in scores[:1] for row in rows]
    return "text-regression" if values and _are_measures(values) else USUAL


def _by_relevance(values: Sequence[Any]) -> str:
    """text-scoring, whose models give 0 to 1, unless numbers are beyond."""
    numbers = _numbers(values)
    return "text-scoring" if all(0 <= number <= 1 for number in numbers) else "text-regression"


def _are_measures(values: Sequence[Any]) -> bool:
    """Whether all are numbers, and some of them no whole ones."""
    numbers = _numbers(values)
    return any(number != int(number) for number in numbers if abs(number) < 1e15)


def _numbers(values: Sequence[Any]) -> list[float]:
    """The values as numbers; none where one is no number."""
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return []
