"""What every task tells about the inputs and outputs of its models."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tfedge.runtime.inputs import TEXT, Input
from tfedge.runtime.wanted import WHOLE, Wanted

if TYPE_CHECKING:
    import numpy as np

Answer = dict[str, Any]
Labels = Sequence[str]
Outputs = Mapping[str, "np.ndarray"]


class Task(abc.ABC):
    """How a model of a task is fed and how its outputs become an answer."""

    name: ClassVar[str]  # as in the manifest, e.g. `text-classification`
    input: ClassVar[Input] = TEXT  # what is answered, one text unless a task says otherwise
    # Name of an output -> its shape, in sizes or the words "length" and "labels", None for any
    # size.
    outputs: ClassVar[Mapping[str, tuple[int | str | None, ...]]]
    # What of `Wanted` means something -> what a line for people has where nobody asks.
    options: ClassVar[Mapping[str, Any]] = {}
    least_labels: ClassVar[int] = 2  # that a model of a task with labels must have

    @property
    def labelled(self) -> bool:
        """Whether the last axis of an output is named by labels."""
        return any("labels" in shape for shape in self.outputs.values())

    def shapes(self, length: int, labels: int) -> dict[str, tuple[int | None, ...]]:
        """The shapes of the outputs of a signature of `length` tokens."""
        sizes = {"length": length, "labels": labels}
        return {
            name: tuple(sizes[size] if isinstance(size, str) else size for size in shape)
            for name, shape in self.outputs.items()
        }

    @abc.abstractmethod
    def answer(
        self, outputs: Outputs, encoded: Any, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """The task's part of an answer.

        Args:
            outputs: by name, of one item; a row for each of `encoded.windows`.
            encoded: of which the model made them, what `Input.encoder` gives.
            item: what was encoded: a text, an image, or a pair (question, context).
            wanted: checked already.
        """

    @abc.abstractmethod
    def line(self, answer: Mapping[str, Any]) -> str:
        """An answer without an error, for people and for `cut`, in one line."""


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of each by itself, float64."""
    import numpy as np

    return 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -700, 700)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, float64 so that they add up to 1."""
    import numpy as np

    shifted = logits.astype(np.float64)
    powers = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
