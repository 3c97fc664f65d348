"""Reads what other commands measured: the JSON that they print."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.errors import InputError
from tfedge.inspect.result import Report
from tfedge.measure.race import Race
from tfedge.records import Count, Positive, Share, read_record

_MOST_BYTES = 16 << 20  # `inspect` of a model with 2000 operators prints 2 MB
_MOST_VALUES = 1_000_000  # of which each takes up to a hundred bytes; the same prints 100,000
_LARGEST_DIGITS = 18  # of a whole number; none that is measured has more
_LARGEST = 1e100  # of others, with which charts compute


@dataclasses.dataclass(frozen=True)
class Counted:
    """Instructions of one inference on an emulated board; None where it failed."""

    board: str
    runtime: str
    model: str
    tokens: Count
    minsn: Positive | None


@dataclasses.dataclass(frozen=True)
class Counts:
    """What `make bench-arm` writes."""

    counts: Sequence[Counted]


@dataclasses.dataclass(frozen=True)
class Texts:
    """What a text of a data set costs in the shortest graph that holds it."""

    data: str
    texts: Count
    minsn: Positive
    speed_up: Positive | None = None


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A row of the mission's table; `minsn` by mode, the fewest of all runtimes."""

    parameters: Count
    flops: Count
    minsn: Mapping[str, Positive | None]
    speed_up: Positive | None
    texts: Texts | None = None


@dataclasses.dataclass(frozen=True)
class Mission:
    """What `make mission` writes: architectures against `base` in float32."""

    board: str
    tokens: Count
    base: str
    models: Mapping[str, Architecture]


@dataclasses.dataclass(frozen=True)
class Judged:
    """What `tfedge eval` says of a classifier; rows of `confusion` are true labels, columns those
    given."""

    model: str
    runtime: str
    data: str
    texts: Count
    accuracy: Share
    macro_f1: Share
    labels: Sequence[str]
    confusion: Sequence[Sequence[Count]]

    def check(self, path: Path) -> None:
        """Raises InputError where the confusion is not of the labels."""
        count = len(self.labels)
        if not count or [len(row) for row in self.confusion] != [count] * count:
            raise InputError(
                f"{path} has {count} labels, and a confusion that is not {count} rows of as many "
                "numbers; make it anew with tfedge eval --json"
            )


Result = Race | Report | Counts | Mission | Judged
# By a key that no other has: what it is, and who makes it.
_KINDS: dict[str, tuple[type[Result], str]] = {
    "contestants": (Race, "tfedge bench --json"),
    "operators": (Report, "tfedge inspect --json"),
    "counts": (Counts, "make bench-arm"),
    "models": (Mission, "make mission"),
    "confusion": (Judged, "tfedge eval --json"),
}


def read_results(paths: Sequence[Path]) -> list[Result]:
    """Reads files, each with one JSON object that a command printed; raises InputError where a file
    cannot be read, or is none of these."""
    found = []
    for path in paths:
        content = _read(path)
        key = next((key for key in _KINDS if key in content), None)
        if key is None:
            raise InputError(
                f"{path} has nothing to report on; give what `tfedge bench --json`, `tfedge inspect "
                "--json` or, of a classifier, `tfedge eval --json` printed, or what `make bench-arm` "
                "or `make mission` wrote"
            )
        kind, origin = _KINDS[key]
        record = read_record(content, kind, str(path), origin)
        if isinstance(record, Judged):
            record.check(path)
        found.append(record)
    return found


def _whole(digits: str) -> int:
    if len(digits) > _LARGEST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits; {_LARGEST_DIGITS} are allowed")
    return int(digits)


def _fraction(digits: str) -> float:
    if abs(found := float(digits)) > _LARGEST and math.isfinite(found):
        raise ValueError(f"a number is {digits:.40}; {_LARGEST:g} is the largest that is allowed")
    return found


def _read(path: Path) -> dict[str, Any]:
    text = files.read_bytes(path, _MOST_BYTES)
    if sum(map(text.count, b"[{,")) > _MOST_VALUES:
        raise InputError(f"{path} is JSON of more than {_MOST_VALUES:,} values; none is that large")
    try:
        content = json.loads(text.decode("utf-8"), parse_int=_whole, parse_float=_fraction)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object, but a {type(content).__name__}")
    return content
