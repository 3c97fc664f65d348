"""What `tfedge inspect` finds, field by field as its JSON has it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from tfedge.inspect.estimate import Estimates
from tfedge.inspect.islands import Island
from tfedge.inspect.noise import LayerNoise
from tfedge.inspect.outliers import LayerOutliers
from tfedge.inspect.timing import PartTime
from tfedge.measure.steadiness import Surroundings
from tfedge.records import Count, Positive
from tfedge.show.verdict import Verdict

WORST = 5


@dataclasses.dataclass(frozen=True)
class BundleFacts:
    """What a file of tfedge says that it is."""

    name: str
    task: str
    labels: Sequence[str] | None
    max_length: Count
    quantization: str
    runtimes: Sequence[str]
    normalize: bool


@dataclasses.dataclass(frozen=True)
class End:
    """An input or output of a signature."""

    dtype: str
    shape: Sequence[int]
    scale: float | None
    zero_point: int | None

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A signature, its graph's operators and their multiply-accumulates."""

    key: str
    operators: Count
    macs: Count
    inputs: Mapping[str, End]
    outputs: Mapping[str, End]


@dataclasses.dataclass(frozen=True)
class Operand:
    """A tensor that an operator reads or writes."""

    dtype: str
    shape: Sequence[int]
    constant: bool


@dataclasses.dataclass(frozen=True)
class OperatorRow:
    """An operator; dtype, layer, tensor and what it stands for are of its first output."""

    index: Count
    operator: str
    version: int
    dtype: str
    inputs: Sequence[Operand]
    outputs: Sequence[Operand]
    layer: str
    tensor: str
    scale: float | None
    zero_point: int | None
    range: Sequence[float] | None
    macs: Count | None  # see `tfedge.inspect.cost.Cost`
    elements: Count
    bytes: Count
    share: float  # of the cost of its graph, 0..1

    @property
    def units(self) -> int:
        return self.elements if self.macs is None else self.macs


@dataclasses.dataclass(frozen=True)
class Total:
    """Of all operators; `elements` of those that are not counted in multiply-accumulates."""

    operators: Count
    macs: Count
    elements: Count
    bytes: Count


@dataclasses.dataclass(frozen=True)
class Group:
    """Operators of one type, dtype and version."""

    operator: str
    dtype: str
    version: int
    count: Count
    cost: Count
    bytes: Count
    share: float


@dataclasses.dataclass(frozen=True)
class Noise:
    """The error against float, see `tfedge.inspect.noise.compare`."""

    against: str
    data: str
    rows: Count
    runtime: str
    delegate: None
    worst: Sequence[str]  # the layers furthest from float, the furthest first
    layers: Sequence[LayerNoise]
    unmatched: Sequence[str]  # layers that have no counterpart in float

    @property
    def ranked(self) -> list[LayerNoise]:
        """The layers that differ from float, the furthest first."""
        measured = [layer for layer in self.layers if layer.snr_db is not None]
        return sorted(measured, key=lambda layer: layer.snr_db or 0.0)


@dataclasses.dataclass(frozen=True)
class Outliers:
    """Outliers of the float model's layers, see `tfedge.inspect.outliers`."""

    float_model: str
    data: str
    rows: Count
    runtime: str
    delegate: None
    left_out: Count  # layers in integers, which only a float model shows
    factor: float  # an outlier's peak is more than this many times the median
    layers: Sequence[LayerOutliers]

    @property
    def ranked(self) -> list[LayerOutliers]:
        """The layers, those first whose median token loses most to 8 bits with one scale."""

        def left(layer: LayerOutliers) -> float:
            found = layer.one_scale
            exact = math.inf if found.snr_db is None else found.snr_db
            return exact if found.token_snr_db is None else found.token_snr_db

        return sorted(self.layers, key=left)


@dataclasses.dataclass(frozen=True)
class Times:
    """The times of all parts, see `tfedge.inspect.timing.time_parts`."""

    data: str
    runtime: str
    threads: Count
    rounds: Count
    parts: Sequence[PartTime]
    total_s: Positive
    surroundings: Surroundings | None = None  # of a board


@dataclasses.dataclass(frozen=True)
class Report:
    """All of it."""

    file: str
    size_bytes: Count
    sha256: str
    description: str
    bundle: BundleFacts | None
    bundle_note: str | None  # why there is no bundle
    signatures: Sequence[Entry]
    signature: str | None  # the key of the one that is shown; None where the file has none
    constant_bytes: Mapping[str, int]  # by dtype
    cost_model: str
    total: Total
    summary: Sequence[Group]  # the costliest first
    islands: Sequence[Island]
    conversions_outside: int  # of no island: at the graph's ends, or between scales
    operators: Sequence[OperatorRow]
    noise: Noise | None
    outliers: Outliers | None
    timing: Times | None
    verdict: Verdict | None = None  # None in what a tfedge before it printed
    estimates: Estimates | None = None  # None of a file that tfedge has not made

    @property
    def noise_of(self) -> dict[int, LayerNoise]:
        """The error by the operator that computes the layer; empty where it was not measured."""
        return {row.operator: row for row in self.noise.layers} if self.noise else {}
