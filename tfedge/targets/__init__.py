"""Boards by name: what a model for each is best made of, as TOML with the reasons beside it."""

from __future__ import annotations

import dataclasses

from tfedge.settings import load_named, setting_names

# The graph of every board but the Edge TPU.
INTEGER = "integer"


@dataclasses.dataclass(frozen=True)
class Target:
    """What a board is best given; options of the user's own come before it.

    Attributes:
        description: the board, for people.
        runtime: what runs the model there.
        quantization: the fastest mode that keeps the accuracy.
        costs: whose costs `auto` chooses by, see `tfedge.quantize.costs`.
        buckets: lengths of shorter graphs, or None for the preset's.
        sequence_length: tokens of the longest graph, or None for the preset's.
        graph: what integers compute with, see `tfedge.quantize.graphs`.
        reader: whose code prepares the texts and reads the outputs: `tfedge`, or `mediapipe`, for
            which see `tfedge.tflite.mediapipe`.
    """

    name: str
    description: str
    runtime: str
    quantization: str
    costs: str
    buckets: tuple[int, ...] | None = None
    sequence_length: int | None = None
    graph: str = INTEGER
    reader: str = "tfedge"


def target_names() -> list[str]:
    """The names of all targets."""
    return setting_names(__name__)


def load_target(name: str) -> Target:
    """The target called `name`.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    return Target(**load_named(__name__, name, "target"))
