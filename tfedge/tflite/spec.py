"""What a converted model is told to be: its task, its tokeniser, its labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfedge.runtime.image_settings import ImageSettings


@dataclasses.dataclass(frozen=True)
class BundleSpec:
    """What a bundle says of its model; see `tfedge.runtime.bundle.Manifest` for the shared fields.

    Attributes:
        signatures: signature key -> sequence length; every one must be in the model.
        max_length: longest input in tokens; None takes the longest signature.
        tokenizer_json: contents of the checkpoint's `tokenizer.json`, of a model of texts.
        image: how images are read, of a model of images.
        vocab: the WordPiece vocabulary in order, None for other tokenisers.
        description: a sentence for people.
    """

    name: str
    task: str
    signatures: Mapping[str, int]
    runtimes: Sequence[str]
    quantization: str
    tokenizer_json: bytes | None = None
    image: ImageSettings | None = None
    labels: Sequence[str] | None = None
    vocab: Sequence[str] | None = None
    max_length: int | None = None
    normalize: bool = False
    description: str = ""
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
