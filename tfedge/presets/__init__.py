"""Named, complete settings: architecture, checkpoint, task, length and quantisation, as TOML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfedge.settings import load_named, setting_names


@dataclasses.dataclass(frozen=True)
class Preset:
    """Everything that converting a named model needs.

    Attributes:
        checkpoint: folder under the repository's `saved_models/` with the weights, or None.
        buckets: lengths of shorter graphs for shorter texts in the same file.
        package: Python package that carries the weights in its folder `model`, or None.
        hub_id: repository on the Hugging Face hub.
        labels: names of the logits where the checkpoint names none.
        config: the `config.json` of the architecture.
        preprocessor: of a model of images, what its `preprocessor_config.json` says.
        max_drop: points that a conversion may lose against float, where that is not the usual number.
    """

    name: str
    description: str
    task: str
    sequence_length: int
    buckets: tuple[int, ...]
    quantization: str
    hub_id: str
    config: Mapping[str, Any]
    checkpoint: str | None = None
    package: str | None = None
    labels: tuple[str, ...] | None = None
    calibration: str = "sentences.tsv"
    preprocessor: Mapping[str, Any] | None = None
    max_drop: float | None = None


def preset_names() -> list[str]:
    """The names of all presets."""
    return setting_names(__name__)


def load_preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    return Preset(**load_named(__name__, name, "preset"))
