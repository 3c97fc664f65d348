"""The configuration of an encoder, read from a Hugging Face `config.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.fields import read_object
from tfedge.architectures.registry import architecture_of
from tfedge.models.pooling import pooling_of


def read_config(folder: str | Path) -> EncoderConfig:
    """Reads `folder/config.json`, and what sentence-transformers' files say of the pooling.

    Raises:
        CheckpointError: the file is missing, is no JSON object, or describes an unsupported model.
    """
    source = read_object(
        Path(folder) / "config.json",
        "a checkpoint is a folder with config.json, model.safetensors and tokenizer.json or vocab.txt "
        "(of images: preprocessor_config.json)",
    )
    return dataclasses.replace(parse_config(source), pooling=pooling_of(Path(folder)))


def parse_config(source: Mapping[str, Any]) -> EncoderConfig:
    """Turns the content of a `config.json` into an `EncoderConfig`.

    Raises:
        CheckpointError: a key is missing or holds a value that no builder supports.
    """
    return architecture_of(source.get("model_type")).parse(source)
