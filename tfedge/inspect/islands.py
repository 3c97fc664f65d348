"""Finds float islands: runs of operators that compute in float between ones that do not.

An island costs more than its operators: what enters is converted to float (DEQUANTIZE) and what
leaves to integers (QUANTIZE), a pass over the memory each, and an accelerator for integers has to
hand the graph back to the CPU there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from tfedge.inspect.graph import Operator, Subgraph

_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


@dataclasses.dataclass(frozen=True)
class Island:
    """Operators that compute in float, by their indices.

    The operators before and behind it compute no float: what a conversion reads from or writes to,
    or a direct neighbour (CAST, GATHER by integers).
    """

    operators: list[int]  # without conversions
    entries: list[int]  # before it
    exits: list[int]  # behind it
    dequantize: int  # conversions on the way in
    quantize: int  # and out
    converted_elements: int  # that the conversions write in each run


def float_islands(subgraph: Subgraph) -> list[Island]:
    """The islands of a graph, in the order of their first operators.

    Operators belong together where one reads what another writes, or both read one tensor, in
    float. Conversions with no operator between them are no island.
    """
    operators = subgraph.operators
    touched = [_float_tensors(subgraph, operator) for operator in operators]
    users = positions(touched)
    ends = (
        {tensor: i for i, operator in enumerate(operators) for tensor in operator.outputs},
        positions(operator.inputs for operator in operators),
    )
    islands, seen = [], set[int]()
    for first, tensors in enumerate(touched):
        run, waiting = set[int](), [first] if tensors and first not in seen else []
        while waiting:
            position = waiting.pop()
            run.add(position)
            waiting += {user for tensor in touched[position] for user in users.pop(tensor, ())}
        seen |= run
        islands.append(_island(subgraph, ends, sorted(run)))
    return [island for island in islands if island.operators]


def positions(listed: Iterable[Iterable[int]]) -> dict[int, list[int]]:
    """By tensor, the positions of the operators that list it."""
    found: dict[int, list[int]] = {}
    for position, tensors in enumerate(listed):
        for tensor in tensors:
            found.setdefault(tensor, []).append(position)
    return found


def _float_tensors(subgraph: Subgraph, operator: Operator) -> list[int]:
    """The float tensors that an operator reads or writes, weights left out."""
    indices = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
    tensors = subgraph.tensors
    return [i for i in indices if tensors[i].is_float and not tensors[i].constant]


def _island(
    subgraph: Subgraph, ends: tuple[Mapping[int, int], Mapping[int, list[int]]], run: list[int]
) -> Island:
    """The island of these operators; `ends` are which operator writes a tensor, and which read it."""
    writer, readers = ends
    entries, exits, converted = set(), set(), 0
    kinds = dict.fromkeys(_CONVERSIONS, 0)
    for position in run:
        operator = subgraph.operators[position]
        sources = [index for index in operator.inputs if index >= 0]
        is_computed = any(not subgraph.tensors[index].constant for index in sources)
        if operator.name in kinds and is_computed:
            kinds[operator.name] += 1
            converted += sum(subgraph.tensors[index].elements for index in operator.outputs)
        entries |= {writer[index] for index in sources if index in writer}
        exits |= {reader for index in operator.outputs for reader in readers.get(index, ())}
    return Island(
        operators=[i for i in run if subgraph.operators[i].name not in _CONVERSIONS],
        entries=sorted(entries - set(run)),
        exits=sorted(exits - set(run)),
        dequantize=kinds["DEQUANTIZE"],
        quantize=kinds["QUANTIZE"],
        converted_elements=converted,
    )
