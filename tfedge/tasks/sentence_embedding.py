"""Gives a vector for a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.errors import CheckpointError, InputError
from tfedge.runtime.tasks import sentence_embedding as board
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks import columns, losses
from tfedge.tasks.base import Answers, Figures, Outputs, Rows, Task, Truth
from tfedge.tasks.numbers import number

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.architectures.base import EncoderConfig
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts
    from tfedge.models.blocks import Blocks, Symbolic, Tensors
    from tfedge.runtime.tokenizer import TextEncoder

# How tokens become a sentence embedding.
MEAN = "mean"
CLS = "cls"
WITH_PROMPT = " of texts with the prompt "  # what a pooling in words says of prompts
_PROMPTS = "config_sentence_transformers.json"
# What a conversion may lose beside the mean cosine, whose loss in points is --max-drop: so much at 1
# point, and as this power of the points grows. Neighbours are lost as errors grow, the others as their
# squares.
_MAY_LOSE = {
    "least cosine": (0.075, 1.0),
    "rank correlation": (0.015, 1.0),
    "share of neighbours kept": (0.3, 0.5),
}
_SCALE = 20.0  # of cosines in losses: the inverse of the temperature 0.05
_LEAST_TEXTS = 50  # of fewer, neighbours and ranks say too little
_NEIGHBOURS = 2000  # texts of which all similarities are compared
_DIGITS = 6  # of similarities of embeddings in float32: texts that differ by less are equally near


class SentenceEmbedding(Task, board.SentenceEmbedding):
    """`embedding` (B, C): the mean of the real tokens' hidden states or that of [CLS], of length 1."""

    kind = "Model"
    wanted = "the columns text, text_pair (or sentence1, sentence2) and score"
    score = "spearman"
    max_drop = 2.0
    is_embedding = True
    shrinks = True
    trains_on_labels = True
    in_mediapipe = True
    in_peers = True

    def check(self, config: EncoderConfig) -> None:
        """Refuses other poolings too."""
        super().check(config)
        check_pooling(config.pooling)

    def reads_first_token_only(self, config: EncoderConfig) -> bool:
        return config.pooling == CLS

    def head(self, blocks: Blocks, hidden: Symbolic, inputs: Tensors, num_labels: int) -> Tensors:
        if blocks.config.pooling == CLS:
            pooled = blocks.per_text(blocks.token(hidden))
        else:
            counted = blocks.config.architecture.counted(blocks, inputs)
            pooled = blocks.mean_pooling(hidden, counted)
        return {"embedding": blocks.normalized(pooled) if blocks.options.normalize else pooled}

    def output_losses(
        self, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """1 minus the cosine of embeddings (B, C); of those of other widths, in which nothing but what
        texts are alike can be learned, see `similarity_distances`."""
        ours, theirs = output["embedding"], target["embedding"]
        if ours.shape[-1] == theirs.shape[-1]:
            return self.differences(output, target, mask)
        return losses.similarity_distances(ours, theirs, _SCALE)

    def differences(self, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        """1 minus the cosine."""
        import tensorflow as tf

        ours, theirs = (tf.math.l2_normalize(side["embedding"], -1) for side in (output, target))
        return 1 - tf.reduce_sum(ours * theirs, axis=-1)

    def goal(self, rows: Rows) -> str:
        """Without scores the rank of each text's own counterpart."""
        return self.score if _has_scores(rows.truth) else "top1"

    def read_lessons(self, data: Data) -> Rows:
        """Pairs, with scores or without; without them also triplets, see `columns.NEGATIVE`."""
        texts = columns.texts_alone(data, self.name, self.wanted)
        if not texts.are_pairs:
            raise InputError(
                f"{data.name} has one text a row; sentence embeddings learn from pairs that mean the "
                "same (columns text and text_pair, or anchor and positive), or pairs with a score"
            )
        items, each = texts.apart().texts, 2
        if texts.labels is None and columns.NEGATIVE in texts.left_out:
            negatives = columns.texts(data.table, columns.NEGATIVE, data.name)
            triplets = zip(texts.texts, negatives, strict=True)
            items, each = [text for pair, other in triplets for text in (*pair, other)], 3
        truth: Truth = texts.labels or [None] * len(texts)
        return Rows(items, truth, data.name, items_a_row=each)

    def new_labels(self, rows: Rows) -> list[str]:
        """None: an embedding has no labels."""
        self.with_truth(rows)
        return []

    def lessons(
        self, rows: Rows, encoder: TextEncoder, labels: Labels
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """The texts of a row one after the other; the aims are scores, (n,), or none, (n, 0)."""
        truth = self.truth(self.with_truth(rows), labels) or ()
        sequences = encoder.encode_batch(rows.items)
        if _has_scores(truth):
            return sequences, np.asarray(truth, np.float32)
        return sequences, np.zeros((len(truth), 0), np.float32)

    def alike(self, aims: np.ndarray, labels: Labels) -> str:
        return "" if aims.ndim == 2 else super().alike(aims, labels)

    def label_losses(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor:
        """Of pairs with scores CoSENT (Su 2022, kexue.fm/archives/8847), of pairs that mean the same
        their rank among all second texts of the batch (Henderson et al. 2017, arXiv:1705.00652), as
        sentence-transformers has both, at a scale of 20."""
        if aims.shape.rank == 1:
            return losses.cosent(output["embedding"], aims, _SCALE)
        return losses.in_batch_ranking(output["embedding"], aims, _SCALE)

    def divergence(self, expected: np.ndarray, answers: np.ndarray) -> float:
        """1 minus the cosine, the mean."""
        norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(answers, axis=1)
        return float(np.mean(1 - (expected * answers).sum(1) / norms))

    def read(self, data: Data) -> Rows:
        """The two texts of each pair one after the other, and their scores; or texts alone."""
        texts = columns.texts_alone(data, self.name, self.wanted)
        rows = self.rows(texts)
        if texts.labels is None or not texts.are_pairs:
            return rows
        return dataclasses.replace(rows, truth=texts.labels, items_a_row=2)

    def as_read(self, texts: Texts) -> Texts:
        """Both texts of a pair by themselves."""
        if not texts.are_pairs or texts.second:
            return super().as_read(texts)
        told = f"{columns.quoted(texts.columns)} are read as texts of their own"
        columns.tell(texts.source, told, texts.left_out)
        return texts.apart()

    def truth(self, rows: Rows, labels: Labels) -> Sequence[float] | None:
        """The scores as numbers; of pairs that mean the same None."""
        if not _has_scores(rows.truth):
            return rows.truth
        return [number(cell, rows.source) for cell in rows.truth or ()]

    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """Spearman's correlation of the cosines of pairs and their scores; of pairs that mean the same,
        see `read_lessons`, the share of first texts to which no other second text is as near, `top1`.

        A pair without an answer counts as the least similar one. Where all cosines are equal there is
        no correlation, and 0 is given.
        """
        if not _has_scores(truth):
            return _retrieval(answers, len(answers) // len(truth))
        cosines = [
            -1.0 if "error" in a or "error" in b else _cosine(a, b)
            for a, b in zip(answers[::2], answers[1::2], strict=True)
        ]
        return {"pairs": len(truth), "spearman": _spearman(np.asarray(cosines), np.asarray(truth))}

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        if "top1" in figures:
            return [f"the own counterpart first {100 * figures['top1']:.2f} %"]
        return [f"Spearman {100 * figures['spearman']:.2f} on {figures['pairs']} pairs"]

    def difference(self, answer: Answer, other: Answer) -> float:
        """1 minus the cosine; raises InputError where the widths differ."""
        return 1.0 - _cosine(answer, other)

    def comparison(
        self, answers: Answers, others: Answers, truth: Truth | None, labels: Labels
    ) -> Figures:
        """How near embeddings are, and what that does to the similarities of texts to each other.

        Returns:
            `mean_cosine` and `least_cosine`, of the two embeddings of one text. Where there are three
            texts or more, of the first 2,000: the number of `neighbours`; `same_neighbour`, how
            many of the texts have the same nearest other text; and `rank_correlation`, Spearman's, of
            the similarities of all pairs. A text that only one model answers has the cosine 0 to
            everything, one that none does is left out.
        """
        pairs = [
            pair
            for pair in zip(answers, others, strict=True)
            if any("error" not in answer for answer in pair)
        ]
        if not pairs:
            return {}
        ours, theirs = unit_vectors(pairs)
        cosines = (ours * theirs).sum(1)
        figures = {"mean_cosine": float(cosines.mean()), "least_cosine": float(cosines.min())}
        if len(pairs) < 3:
            return figures
        found, expected = (
            np.round(side @ side.T, _DIGITS) for side in (ours[:_NEIGHBOURS], theirs[:_NEIGHBOURS])
        )
        upper = np.triu_indices(len(found), 1)
        correlation = _spearman(found[upper], expected[upper])
        for similarities in (found, expected):
            np.fill_diagonal(similarities, -2)  # no text is its own neighbour
        # Several may be equally near, as where a text occurs twice.
        kept = np.take_along_axis(expected, found.argmax(1)[:, None], 1)[:, 0] == expected.max(1)
        return figures | {
            "neighbours": len(found),
            "same_neighbour": int(kept.sum()),
            "rank_correlation": correlation,
        }

    def comparison_lines(self, figures: Mapping[str, Any], other: str) -> list[str]:
        if not figures:
            return []
        line = f"cosine {figures['mean_cosine']:.3f}, least {figures['least_cosine']:.3f}"
        if "neighbours" in figures:
            line += (
                f"; {figures['same_neighbour']} of {figures['neighbours']} texts keep their nearest "
                f"neighbour; rank correlation of similarities {figures['rank_correlation']:.3f}"
            )
        return [line]

    def shortfalls(self, figures: Mapping[str, Any], max_drop: float) -> list[str]:
        """By `_MAY_LOSE`."""
        found = {"least cosine": figures.get("least_cosine", 1.0)}
        if (texts := figures.get("neighbours", 0)) >= _LEAST_TEXTS:
            found["rank correlation"] = figures["rank_correlation"]
            found["share of neighbours kept"] = figures["same_neighbour"] / texts
        wanted = {
            name: 1 - loss * max(max_drop, 0) ** power for name, (loss, power) in _MAY_LOSE.items()
        }
        return [
            f"{name} {value:.4g}, below {wanted[name]:.4g}"
            for name, value in found.items()
            if value < wanted[name]
        ]


def check_pooling(pooling: str) -> None:
    """Raises CheckpointError where `tfedge.models.config.pooling_of` gives what no graph computes."""
    if pooling in (MEAN, CLS):
        return
    hint = "take another checkpoint"
    if WITH_PROMPT in pooling:
        hint = (
            f"remove default_prompt_name from its {_PROMPTS} and put the prompt before each text "
            "yourself, in calibration too"
        )
    raise CheckpointError(
        f"the checkpoint's sentence embeddings are the {pooling}; only mean and cls pooling, with or "
        f"without Normalize behind it, can be converted: {hint}"
    )


def _has_scores(truth: Truth | None) -> bool:
    return truth is not None and any(score is not None for score in truth)


def _retrieval(answers: Answers, each: int) -> Figures:
    """How often the second text of a row is nearer to its first than those of all other rows."""
    vectors, _ = unit_vectors([(answer, answer) for answer in answers])
    similarities = vectors[::each] @ vectors[1::each].T
    own = np.diag(similarities).copy()
    np.fill_diagonal(similarities, -np.inf)
    nearest = similarities.max(1, initial=-np.inf)
    return {"pairs": len(own), "top1": float(np.mean(own > nearest))}


def _cosine(answer: Answer, other: Answer) -> float:
    a, b = np.asarray(answer["embedding"]), np.asarray(other["embedding"])
    if a.shape != b.shape:
        raise InputError(f"embeddings of {len(a)} and {len(b)} numbers cannot be compared")
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def unit_vectors(pairs: Sequence[Sequence[Answer]]) -> tuple[np.ndarray, np.ndarray]:
    """The first and the second answers of pairs as vectors (n, C) of length 1; zeros for none."""
    width = next(len(a["embedding"]) for pair in pairs for a in pair if "error" not in a)
    none = [0.0] * width
    vectors = np.array([[a.get("embedding", none) for a in pair] for pair in pairs])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return vectors[:, 0], vectors[:, 1]


def _spearman(values: np.ndarray, others: np.ndarray) -> float:
    """Spearman's correlation; 0 where all values or all others are equal, and there is none."""
    from scipy.stats import spearmanr

    return float(spearmanr(values, others).statistic) if np.ptp(values) and np.ptp(others) else 0.0


TASK = SentenceEmbedding()
