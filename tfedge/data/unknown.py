"""Tells of texts that a vocabulary does not know, in another script, say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfedge.notes import note
from tfedge.runtime.errors import TextError
from tfedge.runtime.inputs import Input
from tfedge.runtime.special_tokens import MUCH_UNKNOWN


def unknown_share(
    input_: Input, encoding: Mapping[str, Any], max_length: int, items: Sequence[Any]
) -> float | None:
    """The share of unknown tokens in what a model reads, 0..1; None of images.

    Args:
        encoding: see `tfedge.data.reader.Reader.encoding`.
        max_length: tokens that each item is cut to.
    """
    if not input_.has_tokenizer:
        return None
    encoder: Any = input_.encoder(**encoding, max_length=max_length)
    samples = []
    for item in items:
        try:
            samples += encoder.encode_batch([item])
        except TextError:  # it has no answer either
            continue
    return encoder.unknown_share(samples) if samples else 0.0


def told(share: float | None) -> str | None:
    """The share of unknown tokens, 0..1, in words; None where it is too small to matter."""
    if share is None or share <= MUCH_UNKNOWN:
        return None
    return (
        f"{100 * share:.0f} % of the tokens are unknown to the model's vocabulary, which takes them "
        "all for one word"
    )


def tell(share: float, source: str) -> None:
    """Notes that of texts, where it matters, with what to do."""
    if words := told(share):
        note(
            f"{source}: {words}; take a model for their language and script (docs/jobs/language.md)"
        )
