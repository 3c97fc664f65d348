"""What the output tensors of a model mean, task by task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfedge.runtime.tokenizer import Encoded

MAX_ANSWER_TOKENS = 30  # of question answering, as usual for SQuAD

Outputs = Mapping[str, np.ndarray]
Answer = dict[str, Any]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, float64 so that they add up to 1."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    return powers / powers.sum(axis=-1, keepdims=True)


def classify(outputs: Outputs, encoded: object, labels: Sequence[str], top_k: int | None) -> Answer:
    """ "logits" (1, labels) -> the likeliest label, and the `top_k` likeliest ones in order."""
    probabilities = softmax(outputs["logits"][0])
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    scores = {labels[index]: float(probabilities[index]) for index in order}
    return {"label": labels[order[0]], "score": float(probabilities[order[0]]), "scores": scores}


def embed_sentence(
    outputs: Outputs, encoded: Encoded, labels: Sequence[str], top_k: int | None
) -> Answer:
    """ "embedding" (1, width) -> the vector."""
    return {"embedding": outputs["embedding"][0].tolist()}


def classify_tokens(
    outputs: Outputs, encoded: Encoded, labels: Sequence[str], top_k: int | None
) -> Answer:
    """ "logits" (1, length, labels) -> the likeliest label of every word piece."""
    probabilities = softmax(outputs["logits"][0])
    tokens = []
    for position in encoded.positions(0):
        best = int(probabilities[position].argmax())
        start, end = encoded.offsets[position]
        tokens.append(
            {
                "token": encoded.tokens[position],
                "label": labels[best],
                "score": float(probabilities[position, best]),
                "start": start,
                "end": end,
            }
        )
    return {"tokens": tokens}


def answer_question(
    outputs: Outputs, encoded: Encoded, labels: Sequence[str], top_k: int | None
) -> Answer:
    """ "start_logits", "end_logits" (1, length) -> the likeliest span of the context.

    The probability of a span is that of its start times that of its end, among the tokens of the
    context. "start" and "end" are character offsets into the context.
    """
    context = encoded.positions(1)
    starts = softmax(outputs["start_logits"][0, context])  # (C,)
    ends = softmax(outputs["end_logits"][0, context])  # (C,)
    joint = np.triu(starts[:, None] * ends[None, :])  # (C, C), no end before its start
    joint -= np.triu(joint, MAX_ANSWER_TOKENS)  # no span of more tokens
    first, last = np.unravel_index(joint.argmax(), joint.shape)
    return {
        "score": float(joint[first, last]),
        "start": encoded.offsets[context[first]][0],
        "end": encoded.offsets[context[last]][1],
    }


@dataclasses.dataclass(frozen=True)
class Task:
    """How a task reads its outputs.

    Attributes:
        answer: outputs, what was encoded, labels, top_k -> the task's part of an answer.
        outputs: name of an output -> its shape, in sizes or the words "length" and "labels", None
            for any size.
        pairs: whether the input is a question and a context instead of one text.
        ranked: whether `top_k` means something.
        images: whether the input is an image instead of a text.
    """

    answer: Callable[[Outputs, Any, Sequence[str], int | None], Answer]
    outputs: Mapping[str, tuple[int | str | None, ...]]
    pairs: bool = False
    ranked: bool = False
    images: bool = False

    def shapes(self, length: int, labels: int) -> dict[str, tuple[int | None, ...]]:
        """The shapes of the outputs of a signature of `length` tokens."""
        sizes = {"length": length, "labels": labels}
        return {
            name: tuple(sizes[size] if isinstance(size, str) else size for size in shape)
            for name, shape in self.outputs.items()
        }


# The keys and the names of outputs are those of `bundle.TASK_OUTPUTS`.
TASKS: Mapping[str, Task] = {
    "text-classification": Task(classify, {"logits": (1, "labels")}, ranked=True),
    "sentence-embedding": Task(embed_sentence, {"embedding": (1, None)}),
    "token-classification": Task(classify_tokens, {"logits": (1, "length", "labels")}),
    "question-answering": Task(
        answer_question,
        {"start_logits": (1, "length"), "end_logits": (1, "length")},
        pairs=True,
    ),
    "image-classification": Task(classify, {"logits": (1, "labels")}, ranked=True, images=True),
}
