"""Typed look-ups in a JSON object, so that a wrong value is named where it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge.errors import CheckpointError

# No published encoder comes near this; larger numbers are damage or an attack on memory.
LARGEST_SIZE = 2_000_000
LARGEST_SIDE = 4_096  # of an image, in pixels
LARGEST_DEPTH = 1_000


def read_object(path: Path, why: str) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint.

    Args:
        why: what the file is needed for, should it be absent.

    Raises:
        CheckpointError: it is absent, cannot be read, or holds something else.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; {why}")
    source = read_json(path)
    if not isinstance(source, dict):
        raise CheckpointError(f"{path} holds a {type(source).__name__}, not a JSON object")
    return source


def read_json(path: Path) -> Any:
    """What a JSON file of a checkpoint holds.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error


class Fields:
    """Look-ups in a `config.json`, under other names where an architecture has such."""

    def __init__(self, source: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._source = source
        self._names = names

    def _get(self, key: str, default: Any = None) -> tuple[str, Any]:
        name = self._names.get(key, key)
        return name, self._source.get(name, default)

    def size(self, key: str, default: int | None = None, largest: int = LARGEST_SIZE) -> int:
        name, value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= largest:
            raise CheckpointError(
                f"config.json: {name} is {value!r}; it must be a whole number from 1 to {largest}"
            )
        return value

    def pair(self, key: str, default: int) -> tuple[int, int]:
        """A height and a width, which one number may stand for."""
        name, value = self._get(key, default)
        sizes = value if isinstance(value, (list, tuple)) else [value, value]
        if len(sizes) != 2 or not all(type(n) is int and 0 < n <= LARGEST_SIDE for n in sizes):
            raise CheckpointError(
                f"config.json: {name} is {value!r}; it must be a whole number from 1 to "
                f"{LARGEST_SIDE}, or two of them"
            )
        return sizes[0], sizes[1]

    def number(self, key: str, default: float) -> float:
        name, value = self._get(key, default)
        # Comparing also turns NaN away, which Python's JSON reader lets in.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise CheckpointError(
                f"config.json: {name} is {value!r}; it must be a number from 0 to below 1"
            )
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        name, value = self._get(key, default)
        if not isinstance(value, bool):
            raise CheckpointError(f"config.json: {name} is {value!r}; it must be true or false")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        name, value = self._get(key, default)
        if value not in allowed:
            raise CheckpointError(
                f"config.json: {name} is {value!r}; supported are {', '.join(allowed)}"
            )
        return str(value)

    def unsupported(self, key: str, allowed: tuple[Any, ...]) -> None:
        name, value = self._get(key)
        if value not in allowed:
            raise CheckpointError(f"config.json: {name} is {value!r}, which no builder supports")
