"""Named, complete settings: architecture, checkpoint, task, length and quantisation, as TOML."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from tfedge.settings import load_named, setting_names


@dataclasses.dataclass(frozen=True)
class Preset:
    """Everything that converting a named model needs."""

    name: str
    description: str
    task: str
    sequence_length: int
    quantization: str
    hub_id: str  # repository on the Hugging Face hub
    config: Mapping[str, Any]  # the `config.json` of the architecture
    # Lengths of shorter graphs for shorter texts in the same file; by the encoder's size if not given.
    buckets: tuple[int, ...] | None = None
    checkpoint: str | None = None  # folder under the repository's `saved_models/` with the weights
    package: str | None = None  # Python package that carries the weights in its folder `model`
    labels: tuple[str, ...] | None = None  # of the logits where the checkpoint names none
    calibration: str = "sentences.tsv"
    preprocessor: Mapping[str, Any] | None = None  # of images: `preprocessor_config.json`


preset_names = functools.partial(setting_names, __name__)
load_preset = functools.partial(load_named, __name__, Preset)
