"""Texts whose label a model disagrees with, as a table: its mistakes, or those of who labelled them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from tfedge import files
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks.base import Rows

COLUMNS = ("row", "text", "text_pair", "label", "answer", "label_score", "answer_score")


def write_mistakes(
    path: Path, rows: Rows, answers: Sequence[Answer], truth: Sequence[int], labels: Labels
) -> int:
    """Writes the texts whose answer is not their label as a CSV, the surest answers first, and gives
    their number.

    What a good model is surest of is often a wrong label (Northcutt et al. 2021, arXiv:1911.00068).
    Rows are counted from 1; the scores are probabilities of the label and of the answer.
    """
    found = []
    for number, (item, answer, true) in enumerate(zip(rows.items, answers, truth, strict=True), 1):
        label = labels[true]
        if "error" in answer or answer["label"] == label:
            continue
        scores = answer["scores"]
        texts = item if isinstance(item, tuple) else (item, "")
        found.append((number, *texts, label, answer["label"], scores[label], answer["score"]))
    found.sort(key=lambda cells: cells[-2] - cells[-1])
    has_pairs = rows.are_pairs
    with (
        files.atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        for cells in [COLUMNS, *found]:
            table.writerow([cell for i, cell in enumerate(cells) if has_pairs or i != 2])
    return len(found)
