"""Makes the signatures of one file share what they have in common.

TFLiteConverter quantises every signature by itself, so a file with four lengths has every weight
four times. Equal bytes are equal weights: one copy serves all.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def share(tree: Any) -> None:
    """Merges equal buffers and equal quantisation parameters of a model's object tree, in place."""
    _share_buffers(tree)
    _share_quantization(tree)


def drop_unused(tree: Any) -> None:
    """Empties the buffers of a model's object tree that nothing refers to any more, in place."""
    tensors = [tensor for subgraph in tree.subgraphs for tensor in subgraph.tensors]
    used = {entry.buffer for entry in (*tensors, *(tree.metadata or ()))}
    for index, buffer in enumerate(tree.buffers):
        if index not in used:
            buffer.data = None


def _share_buffers(tree: Any) -> None:
    kept: list[Any] = []
    index_of: dict[bytes, int] = {}
    new_index = []
    for buffer in tree.buffers:
        content = b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()
        # The first buffer is the empty one, by TFLite's schema.
        if content not in index_of:
            index_of[content] = len(kept)
            kept.append(buffer)
        new_index.append(index_of[content])
    for subgraph in tree.subgraphs:
        for tensor in subgraph.tensors:
            tensor.buffer = new_index[tensor.buffer]
    for entry in tree.metadata or ():
        entry.buffer = new_index[entry.buffer]
    tree.buffers = kept


class _Shared:
    """A table that is written once, however many refer to it."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._offset: int | None = None

    def Pack(self, builder: Any) -> int:
        """What the generated classes call to write a table; returns where it is."""
        if self._offset is None:
            self._offset = int(self._table.Pack(builder))
        return self._offset


def _share_quantization(tree: Any) -> None:
    shared: dict[tuple[Any, ...], _Shared] = {}
    for subgraph in tree.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.quantization is not None:
                key = _key(tensor.quantization)
                tensor.quantization = shared.setdefault(key, _Shared(tensor.quantization))


def _key(quantization: Any) -> tuple[Any, ...]:
    """Equal for equal parameters."""
    fields = (quantization.scale, quantization.zeroPoint, quantization.min, quantization.max)
    # Details of other schemes than one scale a channel are objects: shared only with themselves.
    details = id(quantization.details) if quantization.details is not None else None
    return (*map(_bytes, fields), quantization.quantizedDimension, details)


def _bytes(values: Any) -> bytes | None:
    return None if values is None else np.asarray(values).tobytes()
