"""Draws which labels a classifier takes for which others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

import numpy as np

from tfedge.report.read import Judged
from tfedge.show.numbers import percent
from tfedge.show.plots import Cell, matrix_chart
from tfedge.show.table import Column, Section, Table, number, table
from tfedge.tasks.confusion import Pair, shown_labels, worst_pairs


def confusion_section(judged: Judged) -> Iterator[Section]:
    """A picture of the labels, or of those that are confused most, and the worst pairs as a table."""
    confusion = np.array(judged.confusion, np.int64)
    shown = shown_labels(confusion)
    name = PurePath(judged.model).name
    notes = [
        f"{percent(judged.accuracy)} of {judged.texts:,} texts of {judged.data} are labelled rightly "
        f"in {judged.runtime}, macro F1 {percent(judged.macro_f1)}."
    ]
    if shown:
        notes.append(
            "A row has the texts of one label, by the labels that they are given, whose numbers stand "
            "above; the stronger the shade, the larger their share of the row, and of wrong ones of "
            "the largest wrong share."
        )
    if 0 < len(shown) < len(confusion):
        rest = len(confusion) - len(shown)
        notes.append(f"These are the labels that are confused most; {rest:,} others are not drawn.")
    plot = None
    if shown:
        names = [judged.labels[index] for index in shown]
        plot = matrix_chart(names, _cells(judged.labels, confusion, shown), f"Confusion of {name}")
    pairs = worst_pairs(confusion)
    tables = [_worst(judged.labels, pairs)] if pairs else []
    yield Section(f"{name}: which labels are confused", plot, notes, tables)


def _cells(labels: Sequence[str], confusion: np.ndarray, shown: Sequence[int]) -> list[Cell]:
    """A cell for each two of the labels shown, shaded by its share of all texts of the true label."""
    totals = np.maximum(confusion.sum(1, keepdims=True), 1)
    shares = (confusion / totals)[np.ix_(shown, shown)]
    wrong = shares[~np.eye(len(shown), dtype=bool)].max(initial=0) or 1.0
    found = []
    for row, true in enumerate(shown):
        for column, given in enumerate(shown):
            count, is_right = int(confusion[true, given]), true == given
            look = ("right" if is_right else "wrong") if count else "none"
            how = "are labelled rightly" if is_right else f"are taken for {labels[given]}"
            tip = f"{count:,} of {int(totals[true, 0]):,} {labels[true]} {how}"
            strength = float(shares[row, column] / (1 if is_right else wrong))
            found.append(Cell(row, column, str(count) if count else "", tip, look, strength))
    return found


def _worst(labels: Sequence[str], pairs: Sequence[Pair]) -> Table:
    columns: list[Column[Pair]] = [
        Column("label", lambda pair: labels[pair.true]),
        Column("is taken for", lambda pair: labels[pair.found]),
        number("texts", lambda pair: f"{pair.texts:,}"),
        number("of", lambda pair: f"{pair.of:,}"),
        number("share", lambda pair: percent(pair.texts / pair.of)),
    ]
    return table(columns, pairs)
