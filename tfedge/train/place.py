"""Where a run keeps what it needs to go on, and what must not be there."""

from __future__ import annotations

from pathlib import Path

from tfedge import files
from tfedge.errors import InputError


def training_folder(output: Path) -> Path:
    """`X.training` beside the output `X`."""
    return output.with_name(f"{output.name}.training")


def refuse_existing(output: Path, force: bool) -> None:
    """Raises InputError at once where the output exists, no run that could go on has been interrupted,
    and nothing is to be replaced, `RunFolder.claim` knows whether one can go on; or where nothing can
    be written beside it."""
    if output.exists() and not force and not training_folder(output).exists():
        raise InputError(f"{output} exists; choose another --output, or --force to replace it")
    files.check_folder(output.parent)
