"""Finds float islands: runs of operators that compute in float between ones that do not.

An island costs more than its operators: what enters is converted to float (DEQUANTIZE) and what
leaves to integers (QUANTIZE), a pass over the memory each, and an accelerator for integers has to
hand the graph back to the CPU there.
"""

from __future__ import annotations

import dataclasses

from tfedge.inspect.graph import Subgraph

_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


@dataclasses.dataclass(frozen=True)
class Island:
    """Attributes:
    operators: indices of those that compute in float, conversions not among them.
    entries, exits: indices of the operators before and behind it that compute no float: what a
        conversion reads from or writes to, or a direct neighbour (CAST, GATHER by integers).
    dequantize, quantize: conversions on the way in and out.
    converted_elements: what the conversions write for each run.
    """

    operators: list[int]
    entries: list[int]
    exits: list[int]
    dequantize: int
    quantize: int
    converted_elements: int


def float_islands(subgraph: Subgraph) -> list[Island]:
    """The islands of a graph, in the order of their first operators.

    Operators belong together where one reads what another writes, or both read one tensor, in
    float. Conversions with no operator between them are no island.
    """
    links = _Links(len(subgraph.operators))
    first_user: dict[int, int] = {}
    members: list[int] = []
    for position in range(len(subgraph.operators)):
        touched = _float_tensors(subgraph, position)
        if touched:
            members.append(position)
        for tensor in touched:
            links.join(position, first_user.setdefault(tensor, position))
    runs: dict[int, list[int]] = {}
    for position in members:
        runs.setdefault(links.root(position), []).append(position)
    ends = _Ends(subgraph)
    islands = [_island(subgraph, ends, run) for run in runs.values()]
    return [island for island in islands if island.operators]


class _Links:
    """Sets of operators, merged (union-find)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, a: int, b: int) -> None:
        a, b = self.root(a), self.root(b)
        self._parent[max(a, b)] = min(a, b)


class _Ends:
    """Which operators write and read each tensor."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.writer: dict[int, int] = {}
        self.readers: dict[int, list[int]] = {}
        for position, operator in enumerate(subgraph.operators):
            for tensor in operator.outputs:
                self.writer[tensor] = position
            for tensor in operator.inputs:
                self.readers.setdefault(tensor, []).append(position)


def _float_tensors(subgraph: Subgraph, position: int) -> list[int]:
    """The float tensors that an operator reads or writes, weights left out."""
    operator = subgraph.operators[position]
    return [
        index
        for index in (*operator.inputs, *operator.outputs)
        if index >= 0
        and subgraph.tensors[index].is_float
        and subgraph.tensors[index].constant_bytes is None
    ]


def _island(subgraph: Subgraph, ends: _Ends, run: list[int]) -> Island:
    inside = set(run)
    entries, exits, converted = set(), set(), 0
    kinds = dict.fromkeys(_CONVERSIONS, 0)
    for position in run:
        operator = subgraph.operators[position]
        sources = [i for i in operator.inputs if i >= 0]
        if operator.name in kinds and any(
            subgraph.tensors[index].constant_bytes is None for index in sources
        ):
            kinds[operator.name] += 1
            converted += sum(subgraph.tensors[index].elements for index in operator.outputs)
        entries |= {ends.writer[i] for i in sources if i in ends.writer} - inside
        for tensor in operator.outputs:
            exits |= set(ends.readers.get(tensor, ())) - inside
    return Island(
        operators=[i for i in run if subgraph.operators[i].name not in _CONVERSIONS],
        entries=sorted(entries),
        exits=sorted(exits),
        dequantize=kinds["DEQUANTIZE"],
        quantize=kinds["QUANTIZE"],
        converted_elements=converted,
    )
