"""What the chip's memory holds of a model, and how long it would take at the published figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from tfedge.edgetpu.rules import Rules
from tfedge.inspect.cost import operator_cost
from tfedge.inspect.graph import Subgraph
from tfedge.records import taken


@dataclasses.dataclass(frozen=True)
class Memory:
    """How the parameters of the mapped operators fit the on-chip memory."""

    parameter_bytes: int  # each constant once
    cache_bytes: int
    least_free_bytes: int  # of published logs, which activations decide
    most_free_bytes: int
    cached_bytes: int  # of the parameters, at the least
    streamed_bytes: int  # the others
    fits: str  # "yes", "likely" or "no"
    source: str


@dataclasses.dataclass(frozen=True)
class Latency:
    """A lower bound of the time of one inference."""

    macs: int
    compute_ms: float
    transfer_bytes: int
    streamed_bytes: int
    milliseconds: Mapping[str, float]  # by link
    assumptions: Sequence[str]


def memory(subgraph: Subgraph, mapped: Iterable[int], rules: Rules) -> Memory:
    """What of the mapped operators' parameters the chip holds, by published figures."""
    tensors = subgraph.tensors
    read = {index for number in mapped for index in subgraph.operators[number].inputs if index >= 0}
    total = sum(tensors[index].bytes for index in read if tensors[index].constant)
    device = rules.device
    least, most = device.least_free_bytes, device.most_free_bytes
    fits = "yes" if total <= least else "likely" if total <= most else "no"
    cached = min(total, most if fits == "likely" else least)
    return taken(
        Memory,
        device,
        parameter_bytes=total,
        cached_bytes=cached,
        streamed_bytes=total - cached,
        fits=fits,
        source=f"{device.cache_source}; {device.free_source}",
    )


def latency(
    subgraph: Subgraph, mapped: frozenset[int], streamed_bytes: int, rules: Rules
) -> Latency:
    """A lower bound of the time of one inference, by link, from published figures alone."""
    costs = [operator_cost(subgraph.operators[index], subgraph) for index in mapped]
    device, crossing = rules.device, _crossing_bytes(subgraph, mapped)
    compute_ms = 1e3 * 2 * sum(cost.units for cost in costs) / (device.tops * 1e12)
    peak, links = f"{device.tops_words} ({device.tops_source})", device.links
    return Latency(
        macs=sum(cost.macs or 0 for cost in costs),
        compute_ms=compute_ms,
        transfer_bytes=crossing,
        streamed_bytes=streamed_bytes,
        milliseconds={
            name: compute_ms + 1e3 * (streamed_bytes + crossing) / link.bytes_per_second
            for name, link in links.items()
        },
        assumptions=[peak, *(link.words for link in links.values()), *device.assumptions],
    )


def _crossing_bytes(subgraph: Subgraph, mapped: frozenset[int]) -> int:
    """Length of the tensors that go into the mapped part or come out of it."""
    made = {index for number in mapped for index in subgraph.operators[number].outputs}
    read = {index for number in mapped for index in subgraph.operators[number].inputs}
    others = (item for number, item in enumerate(subgraph.operators) if number not in mapped)
    wanted = set(subgraph.outputs).union(*(operator.inputs for operator in others))
    tensors = subgraph.tensors
    entering = {index for index in read - made if index >= 0 and not tensors[index].constant}
    return sum(tensors[index].bytes for index in entering | (made & wanted))
