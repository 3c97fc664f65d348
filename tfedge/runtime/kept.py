"""What is remembered of files that have passed, by hash: empty files in the user's cache."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def is_kept(kind: str, key: str) -> bool:
    """Whether `keep` was told this before; not where the cache cannot be read."""
    return os.path.exists(place(kind, key))  # noqa: PTH110  (Path's raises where it may not look)


def keep(kind: str, key: str) -> None:
    """Remembers it; an empty file is whole as soon as it is there. Where none can be written, nothing
    is remembered, and nothing said."""
    path = place(kind, key)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def place(kind: str, key: str) -> Path:
    """The file that stands for it."""
    home = os.environ.get("HOME", "")  # of a service without one nothing is kept
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path(home or os.devnull, ".cache"))
    return root / "tfedge" / kind / key
