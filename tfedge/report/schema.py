"""The results that a report is made of, field by field as far as it reads them.

They come from files, so they are checked: pydantic refuses other types, absent fields and numbers
that are not finite.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0)]


class Result(BaseModel):
    """What a command printed; what no report reads is left out."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Ratios(Result):
    """Times relative to the first contestant's."""

    mean: Positive
    median: Positive
    p90: Positive


class Contestant(Result):
    """A model in a race, see `tfedge.measure.race.race`."""

    name: str
    runtime: str
    threads: Whole
    mean_ms: Positive
    median_ms: Positive
    p90_ms: Positive
    ratios: Ratios
    ratio_range: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    start_ms: Positive
    peak_rss_bytes: Whole | None
    size_bytes: Whole
    unanswered: Whole
    accuracy: Share | None = None
    disagreement: Number


class Machine(Result):
    """What the times belong to."""

    processor: str
    processors: Whole
    load: Number


class Race(Result):
    """What `tfedge bench --json` prints."""

    data: str
    texts: Whole
    rounds: Whole
    machine: Machine
    contestants: Annotated[list[Contestant], Field(min_length=1)]


class LayerNoise(Result):
    """One layer's distance from float, see `tfedge.inspect.noise.LayerNoise`."""

    layer: str
    operator: Whole
    snr_db: Number | None
    cosine: Number | None
    error: Number
    signal: Number


class Noise(Result):
    """The error of all layers."""

    against: str
    data: str
    rows: Whole
    runtime: str
    worst: list[str]
    layers: list[LayerNoise]
    unmatched: list[str]


class PartTime(Result):
    """One part's time, see `tfedge.inspect.timing.PartTime`."""

    name: str
    operators: Whole
    weight_bytes: Whole
    median_s: Number


class Timing(Result):
    """The times of all parts."""

    data: str
    runtime: str
    threads: Whole
    rounds: Whole
    total_s: Positive
    parts: list[PartTime]


class Operators(Result):
    """Operators of one type, dtype and version."""

    operator: str
    dtype: str
    count: Whole
    cost: Whole


class Bundle(Result):
    """What a file says that it is."""

    name: str
    task: str
    quantization: str
    max_length: Whole


class Model(Result):
    """What `tfedge inspect --json` prints."""

    file: str
    size_bytes: Whole
    bundle: Bundle | None
    signature: str | None
    summary: list[Operators]
    noise: Noise | None
    timing: Timing | None


class Count(Result):
    """Instructions of one inference on an emulated board; None where it failed."""

    board: str
    runtime: str
    model: str
    tokens: Whole
    minsn: Positive | None


class Counts(Result):
    """What `make bench-arm` writes."""

    counts: Annotated[list[Count], Field(min_length=1)]


class Texts(Result):
    """What a text of a data set costs in the shortest graph that holds it."""

    data: str
    texts: Whole
    minsn: Positive
    speed_up: Positive | None = None


class Architecture(Result):
    """A row of the mission's table; `minsn` by mode, the fewest of all runtimes."""

    parameters: Whole
    flops: Whole
    minsn: dict[str, Positive | None]
    speed_up: Positive | None
    texts: Texts | None = None


class Mission(Result):
    """What `make mission` writes: architectures against `base` in float32."""

    board: str
    tokens: Whole
    base: str
    models: Annotated[dict[str, Architecture], Field(min_length=1)]
