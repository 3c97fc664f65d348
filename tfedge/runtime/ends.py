"""What goes into the graphs of a file and comes out, read from the file itself."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tfedge.runtime.verify import Content, File, Table

# Types of TFLite's schema.fbs that inputs and outputs of a graph have.
_TYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 7: np.int16}
_TYPES[9] = np.int8
Details = Mapping[str, Mapping[str, Any]]


class Ends(NamedTuple):
    """Of one signature, by the names of tensors what an interpreter says of each: "shape", "dtype" and
    "quantization", the latter a scale, 0 where there is none, and a zero point."""

    inputs: Details
    outputs: Details


def read_ends(path: str, size: int) -> dict[str, Ends]:
    """The ends of each signature of a verified file, by its key.

    Args:
        size: of the graphs in bytes.
    """
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return _ends(content, size)


def _ends(content: Content, size: int) -> dict[str, Ends]:
    file = File(content, size)
    model = file.table(0)
    graphs = file.tables(model, 2)
    found = {}
    for signature in file.tables(model, 7):
        graph = graphs[file.number(signature, 4, "<I")]
        inputs, outputs = (
            {
                file.string(entry, 0): _detail(file, graph, file.number(entry, 1, "<I"))
                for entry in file.tables(signature, number)
            }
            for number in (0, 1)
        )
        found[file.string(signature, 2)] = Ends(inputs, outputs)
    return found


def _detail(file: File, graph: Table, index: int) -> dict[str, Any]:
    at, _ = file.vector(graph, 0, 4) or (0, 0)
    tensor = file.table(at + 4 * index)
    scale, zero_point = 0.0, 0
    if quantization := file.field(tensor, 4):
        scheme = file.table(quantization)
        scales, zeros = file.numbers(scheme, 2, "f"), file.numbers(scheme, 3, "q")
        if scales:
            scale, zero_point = scales[0], zeros[0]
    return {
        "shape": file.numbers(tensor, 0),
        "dtype": _TYPES[file.number(tensor, 1, "<b")],
        "quantization": (scale, zero_point),
    }
