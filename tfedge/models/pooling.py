"""What a sentence-transformers folder says of its pooling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.errors import CheckpointError

_POOLING_FILES = ("modules.json", "1_Pooling/config.json")


def normalizes_embeddings(folder: Path) -> bool:
    """Whether sentence embeddings of a checkpoint are to have length 1.

    A folder without `modules.json` is a plain encoder: its embeddings are normalised, so that the
    dot product of two is their cosine.

    Raises:
        CheckpointError: another pooling than the mean of the tokens, or a module that the graph
            does not have.
    """
    if not (folder / "modules.json").is_file():
        return True
    kinds = [
        str(module.get("type", "")).split(".")[-1] for module in _read(folder / "modules.json")
    ]
    unknown = set(kinds) - {"Transformer", "Pooling", "Normalize"}
    if unknown:
        raise CheckpointError(
            f"{folder}/modules.json has modules that cannot be converted: {', '.join(sorted(unknown))}"
        )
    pooling = folder / "1_Pooling" / "config.json"
    if pooling.is_file() and not _read(pooling).get("pooling_mode_mean_tokens", True):
        raise CheckpointError(f"{pooling} asks for another pooling than the mean of the tokens")
    return "Normalize" in kinds


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error


def copy_pooling(source: Path, folder: Path) -> None:
    """Copies what a sentence-transformers folder says of its pooling, where it says anything."""
    for name in _POOLING_FILES:
        if (source / name).is_file():
            files.write_bytes(folder / name, (source / name).read_bytes())
