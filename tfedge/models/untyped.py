"""The `model_type` of configurations that have none, as those of early BERTs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge.architectures.base import ARCHITECTURES
from tfedge.errors import CheckpointError
from tfedge.models.folder import weight_files
from tfedge.models.headers import shapes_of

# How the names of transformers' classes go on behind that of the architecture.
_KINDS = ("For", "Model", "LMHeadModel")


def model_type_of(folder: Path, source: Mapping[str, Any]) -> object:
    """What config.json, read as `source`, says of the `model_type`; where it says nothing, that of the
    class which it names, or of the one architecture whose prefix is in the weights' names; or None."""
    if source.get("model_type") is not None:
        return source["model_type"]
    classes = source.get("architectures")
    named = str(classes[0]) if isinstance(classes, list) and classes else ""
    for kind, known in ARCHITECTURES.items():
        if named.startswith(tuple(known.class_name + ending for ending in _KINDS)):
            return kind
    names = _names(folder)
    # Several have RoBERTa's.
    found = [
        kind
        for kind, known in ARCHITECTURES.items()
        if any(name.startswith(known.prefix) for name in names)
    ]
    return found[0] if len(found) == 1 else None


def _names(folder: Path) -> list[str]:
    """The names of tensors; none where the weights cannot be read, which their reader then tells."""
    try:
        return [name for path in weight_files(folder) for name in shapes_of(path)]
    except (CheckpointError, OSError):
        return []
