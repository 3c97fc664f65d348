"""What counting on emulated boards writes; programs of the tests do, without this package."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tfedge.records import Count, Positive


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
