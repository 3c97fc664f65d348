"""Gives a vector for a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.errors import CheckpointError, InputError
from tfedge.runtime.tasks import sentence_embedding as board
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks import columns
from tfedge.tasks.base import Answers, Figures, Outputs, Rows, Task, Truth
from tfedge.tasks.numbers import number

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.architectures.base import EncoderConfig
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

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
            pooled = blocks.mean_pooling(hidden, inputs["attention_mask"])
        return {"embedding": blocks.normalized(pooled) if blocks.options.normalize else pooled}

    def output_losses(
        self, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """1 minus the cosine of embeddings (B, C)."""
        return self.differences(output, target, mask)

    def differences(self, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        """1 minus the cosine."""
        import tensorflow as tf

        ours, theirs = (tf.math.l2_normalize(side["embedding"], -1) for side in (output, target))
        return 1 - tf.reduce_sum(ours * theirs, axis=-1)

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
        """The scores as numbers."""
        return rows.truth and [number(cell, rows.source) for cell in rows.truth]

    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """Spearman's correlation of the cosines of pairs and their scores.

        A pair without an answer counts as the least similar one. Where all cosines are equal there is
        no correlation, and 0 is given.
        """
        cosines = [
            -1.0 if "error" in a or "error" in b else _cosine(a, b)
            for a, b in zip(answers[::2], answers[1::2], strict=True)
        ]
        return {"pairs": len(truth), "spearman": _spearman(np.asarray(cosines), np.asarray(truth))}

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
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
        ours, theirs = _unit_vectors(pairs)
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


def _cosine(answer: Answer, other: Answer) -> float:
    a, b = np.asarray(answer["embedding"]), np.asarray(other["embedding"])
    if a.shape != b.shape:
        raise InputError(f"embeddings of {len(a)} and {len(b)} numbers cannot be compared")
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def _unit_vectors(pairs: Sequence[Sequence[Answer]]) -> tuple[np.ndarray, np.ndarray]:
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
