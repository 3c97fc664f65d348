"""How much JSON of a file is read: a value takes up to sixty bytes, and may be written in two."""

from __future__ import annotations

from tfedge.errors import InputError

_FEW = 100_000
_BYTES = 16  # of text for each value beyond those; SQuAD has about fifty


def check_values(content: str, where: str) -> None:
    """Raises InputError where JSON has more values than texts and their labels have."""
    count = sum(map(content.count, "[{,"))
    if count > max(_FEW, len(content) // _BYTES):
        raise InputError(
            f"{where} is JSON of {count:,} values in {len(content):,} characters; texts, labels and "
            "spans have fewer"
        )
