"""Boards by name: what a model for each is best made of, as TOML with the reasons beside it."""

from __future__ import annotations

import dataclasses
import functools

from tfedge.settings import load_named, setting_names

# The graph of every board but the Edge TPU.
INTEGER = "integer"


@dataclasses.dataclass(frozen=True)
class Target:
    """What a board is best given; options of the user's own come before it."""

    name: str
    description: str  # the board, for people
    quantization: str  # the fastest mode that keeps the accuracy
    costs: str  # whose costs `auto` chooses by, see `tfedge.quantize.costs`
    times: str | None = None  # whose estimated time it goes by, or None for that of `costs`
    runtime: str | None = None  # or None for the first that is installed
    buckets: tuple[int, ...] | None = None  # lengths of shorter graphs, or None for the preset's
    sequence_length: int | None = None  # tokens of the longest graph, or None for the preset's
    graph: str = INTEGER  # what integers compute with, see `tfedge.quantize.edgetpu.GRAPHS`
    # Whose code prepares texts and reads outputs: tfedge's, or mediapipe's (`tfedge.tflite.mediapipe`).
    reader: str = "tfedge"


target_names = functools.partial(setting_names, __name__)
load_target = functools.partial(load_named, __name__, Target)
