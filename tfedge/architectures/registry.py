"""The architectures by the `model_type` of their config.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfedge.errors import CheckpointError

if TYPE_CHECKING:
    from tfedge.architectures.base import Architecture

_ARCHITECTURES: dict[str, Architecture] = {}


def register(architecture: Architecture) -> None:
    """Makes an architecture known; one of the same `model_type` is replaced."""
    _ARCHITECTURES[architecture.model_type] = architecture


def architectures() -> tuple[Architecture, ...]:
    """All that are known."""
    return tuple(_ARCHITECTURES.values())


def architecture_of(model_type: object) -> Architecture:
    """The architecture that a config.json names.

    Raises:
        CheckpointError: it is unknown; the message lists those that are known.
    """
    if not isinstance(model_type, str) or model_type not in _ARCHITECTURES:
        raise CheckpointError(
            f"config.json has model_type {model_type!r}; supported are {', '.join(_ARCHITECTURES)} "
            "(TinyBERT and MiniLM are 'bert')"
        )
    return _ARCHITECTURES[model_type]
