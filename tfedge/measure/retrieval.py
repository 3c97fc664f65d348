"""Measures embeddings by what people make of them: the nearest of many texts, and its label."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.data.hub import Data
from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure.board import Board
from tfedge.measure.evaluate import Evaluation, about, answers_of, share_of_unknown
from tfedge.progress import MakeBar
from tfedge.runtime.tasks.base import Answer
from tfedge.tasks import columns
from tfedge.tasks.base import Rows

FIRST, RANK = "same_label_first", "mean_reciprocal_rank"
_QUERIES_AT_ONCE = 512


@dataclasses.dataclass(frozen=True)
class Search:
    """Texts that are looked for, and those among which, with a label each."""

    queries: Texts
    gallery: Texts

    @classmethod
    def read(cls, queries: Data, gallery: Data, limit: int | None = None) -> Search:
        """Of the first queries; raises InputError where texts have no labels, or a label that is none
        of the gallery's."""
        found = cls(queries.texts(), gallery.texts())
        if limit is not None:
            found = dataclasses.replace(found, queries=found.queries.head(limit))
        known = {columns.key(label) for label in _labels(found.gallery)}
        others = sorted({one for one in _labels(found.queries) if columns.key(one) not in known})
        if others:
            raise InputError(
                f"{found.queries.source} has labels {others[:5]} that no text of "
                f"{found.gallery.source} has; leave their texts out"
            )
        return found


def _labels(texts: Texts) -> list[str]:
    if texts.labels is None or texts.are_pairs:
        raise InputError(f"{texts.source} needs one text a row, and the column label")
    return texts.labels


def evaluate_search(
    model: Path, against: Path | None, search: Search, board: Board, make_bar: MakeBar
) -> Evaluation:
    """How often the nearest text of the gallery has the label of the query, by cosine.

    Raises:
        InputError: a model gives no embeddings.
        RejectedModelError: a model crashed.

    Args:
        model, against: as of `tfedge.measure.evaluate.evaluate`.
    """
    task, _, runtimes = about(model, like_embedder=True)
    queries, gallery = search.queries, search.gallery
    rows = Rows([*queries.texts, *gallery.texts], None, queries.source)
    figures: dict[str, Any] = {"gallery": gallery.source, "gallery_texts": len(gallery)}
    own: Sequence[Answer] = ()
    for path, prefix in ((model, ""), (against, "against_")):
        if path is None:
            continue
        if not (found := about(path, like_embedder=True)[0]).is_embedding:
            raise InputError(
                f"--gallery is for sentence embeddings, and {path} is for {found.name}"
            )
        answers = answers_of(path, task, rows, board, make_bar)
        own = own if prefix else answers
        measured = retrieval(_vectors(answers), _labels(queries), _labels(gallery))
        figures |= {f"{prefix}{name}": value for name, value in measured.items()}
    return Evaluation(
        model=str(model),
        task=task.name,
        runtime=runtimes[0] if model.is_dir() else board.chosen(runtimes),
        data=queries.source,
        texts=len(queries),
        unanswered=sum("error" in answer for answer in own),
        unknown_share=share_of_unknown(model, task, rows, own),
        figures=figures,
        against=None if against is None else str(against),
    )


def _vectors(answers: Sequence[Answer]) -> np.ndarray:
    """Of length 1, float64 (n, C); zeros for a text without an answer, which is near nothing."""
    width = next((len(one["embedding"]) for one in answers if "error" not in one), 1)
    vectors = np.array([one.get("embedding", [0.0] * width) for one in answers], np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def retrieval(
    vectors: np.ndarray, labels: Sequence[str], of_gallery: Sequence[str]
) -> dict[str, float]:
    """How well labels are found again.

    Args:
        vectors: of length 1, those of the queries and then of the gallery, (n + m, C).
        labels, of_gallery: of the n queries, each of which occurs there, and of the m texts.

    Returns:
        `same_label_first`, the share of queries to which no text of another label is as near as one of
        their own; `mean_reciprocal_rank` of the first text with their label.
    """
    keys = np.array([columns.key(label) for label in of_gallery])
    queries, gallery = vectors[: len(labels)], vectors[len(labels) :]
    ranks = []
    for start in range(0, len(labels), _QUERIES_AT_ONCE):
        chosen = slice(start, start + _QUERIES_AT_ONCE)
        similarities = queries[chosen] @ gallery.T
        own = np.array([columns.key(label) for label in labels[chosen]])[:, None] == keys
        best = np.where(own, similarities, -np.inf).max(1, keepdims=True)
        ranks += (1 + ((similarities >= best) & ~own).sum(1)).tolist()
    found = np.array(ranks)
    return {FIRST: float(np.mean(found == 1)), RANK: float(np.mean(1 / found))}


def lines(figures: Mapping[str, Any], against: str | None) -> list[str]:
    """What `evaluate_search` has found, in words."""

    def line(prefix: str) -> str:
        first, rank = (figures[f"{prefix}{name}"] for name in (FIRST, RANK))
        return (
            f"the nearest text has the label {100 * first:.2f} %, mean reciprocal rank {rank:.4f}"
        )

    found = [f"among {figures['gallery_texts']} texts of {figures['gallery']}: {line('')}"]
    if against is not None:
        found.append(f"{against}: {line('against_')}")
    return found
