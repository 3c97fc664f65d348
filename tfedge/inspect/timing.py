"""Measures what the parts of a model take in its runtime."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfedge.inspect.copies import named_as, write_prefixes
from tfedge.inspect.graph import ModelFile, Signature, Subgraph
from tfedge.inspect.layers import Part, parts
from tfedge.measure.board import Board
from tfedge.progress import Progress
from tfedge.records import NotNegative


@dataclasses.dataclass(frozen=True)
class PartTime:
    """What one part takes."""

    name: str
    operators: int  # how many it has
    weight_bytes: int  # of the constants that it reads; one that several read counts in each
    # Over the rounds, of what a run takes longer with the part than without; see `_evened`.
    median_s: NotNegative


def time_parts(
    model: ModelFile,
    signature: Signature,
    inputs: Mapping[str, np.ndarray],
    board: Board,
    rounds: int,
    progress: Progress,
) -> tuple[list[PartTime], float]:
    """Runs a graph cut off after each of its parts, all in turns, and compares neighbours.

    Args:
        inputs: (rows, ...) by name.
        progress: called with 1 after each round, warm-up included.

    Returns:
        The parts in the order in which they run, and the median of the whole graph in seconds.

    Raises:
        InputError: the graph cannot be cut.
        RejectedModelError: the runtime refuses the cut graph, or crashes.
    """
    subgraph = model.subgraphs[signature.subgraph]
    found = parts(subgraph, signature)
    with tempfile.TemporaryDirectory(prefix="tfedge-") as folder:
        path = Path(folder) / "parts.tflite"
        keys = write_prefixes(model, signature, [part.end for part in found], path)
        with named_as(model, path):
            seconds = board.seconds(path, keys, inputs, rounds, progress)
    medians = np.median(np.diff(seconds, axis=1, prepend=0), axis=0)
    times = [
        PartTime(part.name, part.end - part.begin, _weights(subgraph, part), float(taken))
        for part, taken in zip(found, _evened(medians), strict=True)
    ]
    return times, float(np.median(seconds[:, -1]))


def _evened(taken: np.ndarray) -> np.ndarray:
    """Times of parts, seconds (parts,), without those below 0 that noise gives.

    A graph that is cut off later never takes less, so the nearest times of the cut graphs that never
    fall are taken (isotonic regression): what a part seems to give back is taken from its neighbours.
    """
    from scipy.optimize import isotonic_regression  # takes long, and few commands time parts

    return np.diff(isotonic_regression(np.cumsum(taken)).x, prepend=0).clip(min=0)


def _weights(subgraph: Subgraph, part: Part) -> int:
    operators = subgraph.operators[part.begin : part.end]
    read = {index for operator in operators for index in operator.inputs if index >= 0}
    return sum(subgraph.tensors[index].constant_bytes or 0 for index in read)
