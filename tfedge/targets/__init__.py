"""Boards by name: what a model for each is best made of, as TOML with the reasons beside it."""

from __future__ import annotations

import dataclasses

from tfedge.settings import load_named, setting_names

# The graph of every board but the Edge TPU.
INTEGER = "integer"


@dataclasses.dataclass(frozen=True)
class Target:
    """What a board is best given; options of the user's own come before it."""

    name: str
    description: str  # the board, for people
    runtime: str
    quantization: str  # the fastest mode that keeps the accuracy
    costs: str  # whose costs `auto` chooses by, see `tfedge.quantize.costs`
    buckets: tuple[int, ...] | None = None  # lengths of shorter graphs, or None for the preset's
    sequence_length: int | None = None  # tokens of the longest graph, or None for the preset's
    graph: str = INTEGER  # what integers compute with, see `tfedge.quantize.edgetpu.GRAPHS`
    # Whose code prepares texts and reads outputs: tfedge's, or mediapipe's (`tfedge.tflite.mediapipe`).
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
