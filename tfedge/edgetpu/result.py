"""What `tfedge edgetpu check` and `compile` find, field by field as their JSON has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tfedge.edgetpu.estimate import Latency, Memory
from tfedge.edgetpu.rules import Question
from tfedge.show.verdict import Verdict

MAPPED = "Mapped to Edge TPU"
STRANDED = "More than one subgraph is not supported"
SEEN, UNPROVEN, CPU = "mapped", "unproven", "CPU"


@dataclasses.dataclass(frozen=True)
class Graph:
    """Which graph is looked at, and which are not."""

    index: int
    of: int  # graphs in the file
    signature: str | None
    others: Sequence[str]  # signatures of the other graphs
    open_sizes: int  # tensors with a size left open


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why the compiler would refuse the file as a whole: operators of one type and version."""

    operator: str
    version: int
    count: int
    message: str
    rule: str
    source: str
    change: str | None


@dataclasses.dataclass(frozen=True)
class Judged:
    """An operator and what becomes of it; dtype, shape and tensor are of its first output."""

    index: int
    operator: str
    version: int
    dtype: str
    shape: Sequence[int]
    tensor: str
    class_: str  # `SEEN`, `UNPROVEN` or `CPU`
    status: str  # in the compiler's words
    rule: str  # why
    source: str  # where that was published
    change: str | None  # what to do about it; None where it is mapped
    question: str | None  # the open question on which that depends


@dataclasses.dataclass(frozen=True)
class Counted:
    """Operators of one type and status, as the compiler's log counts them."""

    operator: str
    count: int
    status: str
    class_: str


@dataclasses.dataclass(frozen=True)
class Part:
    """Operators that run together, by their indices; `taken` where the compiler maps them."""

    mappable: bool
    taken: bool
    operators: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Break:
    """The first operator behind the mapped ones that cannot be mapped, and how many that strands."""

    index: int
    operator: str
    status: str
    rule: str
    change: str | None
    stranded: int


@dataclasses.dataclass(frozen=True)
class Check:
    """The prediction; of a file that is compiled already what can be seen of it, the rest None."""

    file: str
    size_bytes: int
    compiler: str
    graph: Graph
    compiled: bool
    problems: Sequence[Problem]
    operators: Sequence[Judged]  # in the file's order
    summary: Sequence[Counted]
    counts: Mapping[str, int]  # operators by class
    questions: Sequence[Question]
    # Operators mapped if every open question is answered no ("strict") or yes ("generous").
    readings: Mapping[str, int] | None
    partitions: Sequence[Part] | None
    first_break: Break | None
    minimum_runtime: int | None  # of the Edge TPU
    memory: Memory | None
    latency: Latency | None
    verdict: Verdict | None = None  # None of a graph that lies in no file


@dataclasses.dataclass(frozen=True)
class Difference:
    """An operator that was predicted on one side and is on the other."""

    index: int
    operator: str
    class_: str
    predicted: str
    compiled: str


@dataclasses.dataclass(frozen=True)
class StatusDifference:
    """How many operators were predicted to have a status, and have it in the compiler's log."""

    operator: str
    status: str
    predicted: int
    compiled: int


@dataclasses.dataclass(frozen=True)
class Compilation:
    """What the compiler made, held to the prediction; None where its log does not say."""

    file: str
    output: str
    compiler: str
    operators: int
    predicted: int
    mapped: int | None
    on_cpu: int | None
    agrees: bool  # whether each was mapped that was predicted to be
    differences: Sequence[Difference]
    statuses: Sequence[StatusDifference]
    subgraphs: int | None
    cached_bytes: int | None
    remaining_bytes: int | None
    streamed_bytes: int | None


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What follows a conversion for the Edge TPU; `not_compiled` says why there is no `compile`."""

    check: Check
    compile: Compilation | None
    not_compiled: str | None
