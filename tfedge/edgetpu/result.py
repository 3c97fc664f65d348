"""What `tfedge edgetpu check` and `compile` find, field by field as their JSON has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tfedge.edgetpu.estimate import Latency, Memory
from tfedge.edgetpu.partition import Part
from tfedge.edgetpu.rules import Question

MAPPED = "Mapped to Edge TPU"
STRANDED = "More than one subgraph is not supported"
SEEN, UNPROVEN, CPU = "mapped", "unproven", "CPU"


@dataclasses.dataclass(frozen=True)
class Graph:
    """Which graph is looked at, and which are not.

    Attributes:
        of: graphs in the file.
        others: signatures of the other graphs.
        open_sizes: tensors with a size left open.
    """

    index: int
    of: int
    signature: str | None
    others: Sequence[str]
    open_sizes: int


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
    """An operator and what becomes of it.

    Attributes:
        dtype, shape, tensor: of its first output.
        class_: `SEEN`, `UNPROVEN` or `CPU`.
        status: in the compiler's words.
        rule: why, and `source`, where that was published.
        change: what to do about it; None where it is mapped.
        question: the open question on which that depends.
    """

    index: int
    operator: str
    version: int
    dtype: str
    shape: Sequence[int]
    tensor: str
    class_: str
    status: str
    rule: str
    source: str
    change: str | None
    question: str | None


@dataclasses.dataclass(frozen=True)
class Counted:
    """Operators of one type and status, as the compiler's log counts them."""

    operator: str
    count: int
    status: str
    class_: str


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
    """The prediction; of a file that is compiled already what can be seen of it, the rest None.

    Attributes:
        operators: in the file's order.
        counts: operators by class.
        readings: operators mapped if every open question is answered no ("strict") or yes
            ("generous").
        minimum_runtime: of the Edge TPU.
    """

    file: str
    size_bytes: int
    compiler: str
    graph: Graph
    compiled: bool
    problems: Sequence[Problem]
    operators: Sequence[Judged]
    summary: Sequence[Counted]
    counts: Mapping[str, int]
    questions: Sequence[Question]
    readings: Mapping[str, int] | None
    partitions: Sequence[Part] | None
    first_break: Break | None
    minimum_runtime: int | None
    memory: Memory | None
    latency: Latency | None


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
    """What the compiler made, held to the prediction.

    Attributes:
        predicted, mapped, on_cpu: operators.
        agrees: whether each was mapped that was predicted to be.
        subgraphs, cached_bytes, remaining_bytes, streamed_bytes: of the compiler's log, None where
            it does not say.
    """

    file: str
    output: str
    compiler: str
    operators: int
    predicted: int
    mapped: int | None
    on_cpu: int | None
    agrees: bool
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
