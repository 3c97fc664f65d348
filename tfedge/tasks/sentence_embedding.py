"""Gives a vector for a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.errors import CheckpointError, InputError
from tfedge.runtime.tasks import sentence_embedding as board
from tfedge.runtime.tasks.base import Answer
from tfedge.tasks import columns
from tfedge.tasks.base import Outputs, Rows, Task

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.architectures.base import EncoderConfig
    from tfedge.data.hub import Data
    from tfedge.models.blocks import Blocks, Symbolic

# How tokens become a sentence embedding.
MEAN = "mean"
CLS = "cls"
WITH_PROMPT = " of texts with the prompt "  # what a pooling in words says of prompts
_PROMPTS = "config_sentence_transformers.json"
_PAIRS = (("text", "text_pair"), ("sentence1", "sentence2"))
_SCORES = ("score", "label", "similarity_score")


class SentenceEmbedding(Task, board.SentenceEmbedding):
    """`embedding` (B, C): the mean of the real tokens' hidden states or that of [CLS], of length 1."""

    kind = "Model"
    wanted = "the columns text, text_pair (or sentence1, sentence2) and score"
    score = "spearman"
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

    def head(
        self, blocks: Blocks, hidden: Symbolic, inputs: dict[str, Symbolic], num_labels: int
    ) -> dict[str, Symbolic]:
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
        from tfedge.tasks.losses import cosines

        return 1 - cosines(output["embedding"], target["embedding"])

    def divergence(self, expected: np.ndarray, answers: np.ndarray) -> float:
        """1 minus the cosine, the mean."""
        norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(answers, axis=1)
        return float(np.mean(1 - (expected * answers).sum(1) / norms))

    def read(self, data: Data) -> Rows:
        """The two texts of each pair one after the other, and their scores; or texts alone."""
        rows, source = data.table, data.name
        score = columns.find(rows, _SCORES)
        for first, second in _PAIRS:
            if score is not None and rows[0].keys() >= {first, second}:
                both = (columns.texts(rows, name, source) for name in (first, second))
                items = [text for pair in zip(*both, strict=True) for text in pair]
                return Rows(items, [_number(row, score, source) for row in rows], source, 2)
        return Rows(columns.texts_alone(data, self.name, self.wanted), None, source)

    def metric(
        self, answers: Sequence[Answer], truth: Sequence[Any], labels: Sequence[str]
    ) -> dict[str, Any]:
        """Spearman's correlation of the cosines of pairs and their scores.

        A pair without an answer counts as the least similar one. Where all cosines are equal there is
        no correlation, and 0 is given.
        """
        cosines = [
            -1.0 if "error" in a or "error" in b else _cosine(a, b)
            for a, b in zip(answers[::2], answers[1::2], strict=True)
        ]
        found, expected = _ranks(cosines), _ranks(truth)
        norms = np.linalg.norm(found) * np.linalg.norm(expected)
        return {"pairs": len(truth), "spearman": float(found @ expected / norms) if norms else 0.0}

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        return [f"Spearman {100 * figures['spearman']:.2f} on {figures['pairs']} pairs"]

    def difference(self, answer: Answer, other: Answer) -> float:
        """1 minus the cosine; raises InputError where the widths differ."""
        return 1.0 - _cosine(answer, other)


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


def _number(row: Mapping[str, Any], column: str, source: str) -> float:
    try:
        number = float(row[column])
    except (KeyError, TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise InputError(f"{source}: {column!r} is {row.get(column)!r:.40}; give a number there")
    return number


def _cosine(answer: Answer, other: Answer) -> float:
    a, b = np.asarray(answer["embedding"]), np.asarray(other["embedding"])
    if a.shape != b.shape:
        raise InputError(f"embeddings of {len(a)} and {len(b)} numbers cannot be compared")
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks of values, equal ones sharing the mean of theirs, less the mean of all, (n,)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = (last - (counts - 1) / 2)[inverse]
    return ranks - ranks.mean()


TASK = SentenceEmbedding()
