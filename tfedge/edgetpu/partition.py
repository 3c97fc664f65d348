"""How the compiler cuts a graph: into sets that can run one after the other; it takes the first.

The cut is TensorFlow Lite's own (graph_info.cc, PartitionGraphIntoIndependentNodeSubsets): each set
takes all operators of its kind whose operands are there, so the order in the file does not matter.
The compiler keeps the first supported set, however small (google-coral/edgetpu#342, and the pairs
that the tests hold).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tfedge.inspect.graph import Subgraph
from tfedge.inspect.islands import positions


@dataclasses.dataclass(frozen=True)
class Part:
    """Operators that run together, by their indices; `taken` where the compiler maps them."""

    mappable: bool
    taken: bool
    operators: tuple[int, ...]


def partition(subgraph: Subgraph, mappable: Sequence[bool]) -> list[Part]:
    """Cuts a graph into sets of operators that all can, or all cannot, be mapped.

    Operators that wait for each other in a circle, which no runtime could run, are a last set that
    cannot.
    """
    operators = subgraph.operators
    made = {index for operator in operators for index in operator.outputs}
    wanted = [set(operator.inputs) & made for operator in operators]
    missing, readers = [len(indices) for indices in wanted], positions(wanted)
    ready = [number for number, count in enumerate(missing) if not count]
    parts: list[Part] = []
    seen: set[int] = set()
    while ready:
        kind = mappable[min(ready)]
        inside: list[int] = []
        later: list[int] = []
        while ready:
            number = ready.pop()
            if mappable[number] != kind:
                later.append(number)
                continue
            inside.append(number)
            for index in set(operators[number].outputs) - seen:
                seen.add(index)
                for reader in readers.get(index, ()):
                    missing[reader] -= 1
                    if not missing[reader]:
                        ready.append(reader)
        is_first = kind and not any(part.mappable for part in parts)
        parts.append(Part(kind, is_first, tuple(sorted(inside))))
        ready = later
    left = tuple(number for number, count in enumerate(missing) if count)
    return [*parts, Part(False, False, left)] if left else parts


def mapped(parts: Sequence[Part]) -> frozenset[int]:
    """The operators that the compiler maps."""
    return frozenset(number for part in parts if part.taken for number in part.operators)
