"""What the chip's memory holds of a model, and how long it would take at the published figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tfedge.edgetpu.rules import Rules
from tfedge.inspect.cost import operator_cost
from tfedge.inspect.graph import Subgraph

_ASSUMPTIONS = (
    "every multiply-accumulate at the published peak, every other operation one element each; real "
    "operators reach a fraction of it",
    "parameters beyond the cache are sent with every inference, and so are inputs and outputs of "
    "the mapped part; nothing overlaps",
    "operators left on the CPU and the time of a call are not counted",
)


def memory(subgraph: Subgraph, mapped: Iterable[int], rules: Rules) -> dict[str, Any]:
    """How the parameters of the mapped operators fit the on-chip memory.

    Returns:
        `parameter_bytes`, each constant once; `cache_bytes`; `least_free_bytes` and
        `most_free_bytes` of published logs, which activations decide; `cached_bytes` and
        `streamed_bytes` at the least; `fits`: "yes", "likely" or "no".
    """
    constants = {
        index
        for number in mapped
        for index in subgraph.operators[number].inputs
        if index >= 0 and subgraph.tensors[index].constant_bytes is not None
    }
    total = sum(subgraph.tensors[index].bytes for index in constants)
    least, most, why = rules.device["cache_free_bytes"]
    fits = "yes" if total <= least else "likely" if total <= most else "no"
    cached = min(total, most if fits == "likely" else least)
    return {
        "parameter_bytes": total,
        "cache_bytes": rules.device["cache_bytes"][0],
        "least_free_bytes": least,
        "most_free_bytes": most,
        "cached_bytes": cached,
        "streamed_bytes": total - cached,
        "fits": fits,
        "source": f"{rules.device['cache_bytes'][2]}; {why}",
    }


def latency(
    subgraph: Subgraph, mapped: frozenset[int], streamed_bytes: int, rules: Rules
) -> dict[str, Any]:
    """A lower bound of the time of one inference, by link, from published figures alone."""
    units = macs = 0
    for index in mapped:
        cost = operator_cost(subgraph.operators[index], subgraph)
        macs += cost.macs or 0
        units += cost.units
    tops, words, source = rules.device["tops"]
    crossing = _crossing_bytes(subgraph, mapped)
    compute_ms = 1e3 * 2 * units / (tops * 1e12)
    links = {
        name: compute_ms + 1e3 * (streamed_bytes + crossing) / rate
        for name, (rate, _) in rules.device["links"].items()
    }
    described = [words for _, words in rules.device["links"].values()]
    return {
        "macs": macs,
        "compute_ms": compute_ms,
        "transfer_bytes": crossing,
        "streamed_bytes": streamed_bytes,
        "milliseconds": links,
        "assumptions": [f"{words} ({source})", *described, *_ASSUMPTIONS],
    }


def _crossing_bytes(subgraph: Subgraph, mapped: frozenset[int]) -> int:
    """Length of the tensors that go into the mapped part or come out of it."""
    made = {index for number in mapped for index in subgraph.operators[number].outputs}
    read = {index for number in mapped for index in subgraph.operators[number].inputs}
    wanted = set(subgraph.outputs) | {
        index
        for number, operator in enumerate(subgraph.operators)
        if number not in mapped
        for index in operator.inputs
    }
    entering = {
        index
        for index in read - made
        if index >= 0 and subgraph.tensors[index].constant_bytes is None
    }
    return sum(subgraph.tensors[index].bytes for index in entering | (made & wanted))
