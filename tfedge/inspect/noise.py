"""Measures how far each layer of a quantised model is from the same layer in float."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tfedge.errors import InputError
from tfedge.inspect.copies import Model, opened
from tfedge.inspect.graph import Tensor
from tfedge.inspect.inputs import Inputs
from tfedge.inspect.layers import layer_outputs
from tfedge.measure.board import Board
from tfedge.progress import Progress
from tfedge.runtime.interpreter import dequantise

# What both models' tensors of the rows that run together may take.
_BATCH_BYTES = 256 << 20
_ROW_BYTES = 2 << 30


@dataclasses.dataclass(frozen=True)
class LayerNoise:
    """How far one layer is from float, over all rows and elements."""

    layer: str
    operator: int  # index of the operator that computes it in the quantised model
    # 10 log10(sum float^2 / sum (float - quantised)^2); None where the two are equal or float is 0.
    snr_db: float | None
    cosine: float | None  # of all values as one vector; None where either is all zero
    error: float  # root mean square of the difference
    signal: float  # root mean square of the float values


def compare(
    model: Model, reference: Model, inputs: Inputs, board: Board, progress: Progress
) -> tuple[list[LayerNoise], list[str]]:
    """Runs both models on the same rows and compares the layers that both have.

    Args:
        reference: the float model and its signature.
        board: with a runtime; both run on it, each in a process of its own.
        progress: called with a number of rows whenever as many have run in either model.

    Returns:
        The layers in the order of the quantised graph, and its layers that float has not, or in
        another shape; these are fused away, mostly.

    Raises:
        InputError: no layer has a counterpart, or the tensors of one row fill the memory.
        RejectedModelError: a model crashed or was refused.
    """
    pairs, unmatched = _match(model, reference)
    if not pairs:
        raise InputError(
            f"{model[0].path} and {reference[0].path} have no layer of one name and shape; the "
            "float model of `tfedge convert --keep-reference` has"
        )
    row_bytes = sum(tensor.bytes for pair in pairs for tensor in pair.tensors)
    if row_bytes > _ROW_BYTES:
        raise InputError(
            f"{model[0].path}: the layers of one text take {row_bytes / 2**30:.1f} GB; "
            "take a shorter --signature"
        )
    rows = len(next(iter(inputs.values())))
    step = max(1, _BATCH_BYTES // max(1, row_bytes))
    indices = [[pair.indices[side] for pair in pairs] for side in (0, 1)]
    with contextlib.ExitStack() as stack:
        readers = [
            stack.enter_context(opened(side, read, board, progress))
            for side, read in zip((model, reference), indices, strict=True)
        ]
        for start in range(0, rows, step):
            part = {name: array[start : start + step] for name, array in inputs.items()}
            found = [read(part) for read in readers]
            for pair, actual, true in zip(pairs, *found, strict=True):
                if actual.squeeze().shape != true.squeeze().shape:
                    raise InputError(
                        f"layer {pair.layer!r} is {actual.shape} in {model[0].path} when it runs and "
                        f"{true.shape} in {reference[0].path}, whatever the files say"
                    )
                pair.add(actual, true)
    return [pair.noise() for pair in pairs], unmatched


def _match(model: Model, reference: Model) -> tuple[list[_Pair], list[str]]:
    """Layers of both, and those of the first that have no counterpart."""
    ours, theirs = (file.subgraphs[signature.subgraph] for file, signature in (model, reference))
    found, others = layer_outputs(ours, model[1]), layer_outputs(theirs, reference[1])
    pairs, unmatched = [], []
    for layer, (operator, tensor) in found.items():
        mine = ours.tensors[tensor]
        if not mine.is_float and mine.scale is None:
            continue  # indices and counts, which are exact
        index = others.get(layer, (0, -1))[1]
        other = theirs.tensors[index] if index >= 0 else None
        if other is None or _sizes(other) != _sizes(mine) or not other.is_float:
            unmatched.append(layer)
        else:
            pairs.append(_Pair(layer, operator, (tensor, index), (mine, other)))
    return pairs, unmatched


def _sizes(tensor: Tensor) -> list[int]:
    """Its shape without axes of one element, where that in float may have others."""
    return [size for size in tensor.shape if size != 1]


class _Pair:
    """One layer in both models, the quantised first, added up over batches of rows."""

    def __init__(
        self, layer: str, operator: int, indices: Sequence[int], tensors: Sequence[Tensor]
    ) -> None:
        self.layer, self.indices, self.tensors = layer, indices, tensors
        self._operator, self._count = operator, 0
        self._sums = np.zeros(4)

    def add(self, actual: np.ndarray, true: np.ndarray) -> None:
        self._count += true.size
        actual, true = _real(actual, self.tensors[0]), _real(true, self.tensors[1])
        with np.errstate(over="ignore", invalid="ignore"):  # `noise` refuses what is not finite
            difference = true - actual
            self._sums += (true @ true, difference @ difference, actual @ actual, true @ actual)

    def noise(self) -> LayerNoise:
        if not np.isfinite(self._sums).all():
            raise InputError(f"layer {self.layer!r} has values that are not finite")
        signal, error, power, product = map(float, self._sums)
        snr = 10 * math.log10(signal / error) if signal and error else None
        cosine = product / math.sqrt(signal * power) if signal and power else None
        means = (math.sqrt(total / max(1, self._count)) for total in (error, signal))
        return LayerNoise(self.layer, self._operator, snr, cosine, *means)


def _real(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """What a tensor stands for, float64."""
    detail = {"quantization": (tensor.scale or 0, tensor.zero_point or 0)}
    return dequantise(values, detail).astype(np.float64).ravel()
