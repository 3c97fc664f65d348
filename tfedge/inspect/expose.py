"""Makes tensors inside a model outputs of its graph, so that a runtime keeps them to be read.

A runtime reuses the memory of a tensor that nothing reads any more. `experimental_preserve_all_tensors`
is meant to prevent that, but tflite-runtime 2.14 still lets SOFTMAX, ADD and others write over their
operands. No runtime does so to an output.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

from tfedge.errors import InputError
from tfedge.inspect.graph import ModelFile, outputs_field

_LARGEST_BYTES = 1 << 31  # what offsets of a flatbuffer reach
_NUMBER = struct.Struct("<I")


def expose(model: ModelFile, subgraph: int, tensors: Sequence[int], copy: Path) -> None:
    """Writes a copy of `model` whose subgraph also puts out `tensors`; signatures stay as they are.

    The new list of outputs is appended and the old one's offset made to point there; everything
    else stays in its place.

    Raises:
        InputError: the model is too large, or cannot be read.
    """
    if model.size_bytes + 4 * len(tensors) + 16 > _LARGEST_BYTES:
        raise InputError(f"{model.path}: models above 2 GB cannot be compared")
    position = outputs_field(model.path, subgraph)
    outputs = list(dict.fromkeys([*model.subgraphs[subgraph].outputs, *tensors]))
    shutil.copyfile(model.path, copy)
    with open(copy, "r+b") as file:
        end = file.seek(0, 2)
        start = end + -end % 4
        numbers = (len(outputs), *outputs)
        file.write(bytes(start - end) + b"".join(map(_NUMBER.pack, numbers)))
        file.seek(position)
        file.write(_NUMBER.pack(start - position))
