"""Measures how far each layer of a quantised model is from the same layer in float."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfedge.errors import InputError, RejectedModelError
from tfedge.inspect.graph import ModelFile, Signature, Tensor
from tfedge.inspect.inputs import Inputs
from tfedge.inspect.layers import layer_outputs
from tfedge.measure.board import Board
from tfedge.runtime.interpreter import dequantise
from tfedge.tflite.edit import Editor

# What both models' tensors of the rows that run together may take.
_BATCH_BYTES = 256 << 20
_ROW_BYTES = 2 << 30


@dataclasses.dataclass(frozen=True)
class LayerNoise:
    """How far one layer is from float, over all rows and elements.

    Attributes:
        operator: index of the operator that computes it in the quantised model.
        snr_db: 10 log10(sum float^2 / sum (float - quantised)^2); None where the two are equal or
            float is all zero.
        cosine: of all values as one vector; None where either is all zero.
        error, signal: root mean squares of the difference and of the float values.
    """

    layer: str
    operator: int
    snr_db: float | None
    cosine: float | None
    error: float
    signal: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Attributes:
    layers: in the order of the quantised graph.
    unmatched: its layers that float has not, or in another shape; fused away, mostly.
    """

    layers: list[LayerNoise]
    unmatched: list[str]


@dataclasses.dataclass(frozen=True)
class _Pair:
    layer: str
    operator: int
    tensor: int
    other: int


def compare(
    model: tuple[ModelFile, Signature],
    reference: tuple[ModelFile, Signature],
    inputs: Inputs,
    board: Board,
    progress: Callable[[int], None],
) -> Comparison:
    """Runs both models on the same rows and compares the layers that both have.

    Args:
        reference: the float model and its signature.
        board: with a runtime; both run on it, each in a process of its own.
        progress: called with a number of rows whenever as many have run in either model.

    Raises:
        InputError: no layer has a counterpart, or the tensors of one row fill the memory.
        RejectedModelError: a model crashed or was refused.
    """
    pairs, unmatched = _match(model, reference)
    ours, theirs = (_tensors(*side) for side in (model, reference))
    if not pairs:
        raise InputError(
            f"{model[0].path} and {reference[0].path} have no layer of one name and shape; the "
            "float model of `tfedge convert --keep-reference` has"
        )
    row_bytes = sum(ours[pair.tensor].bytes + theirs[pair.other].bytes for pair in pairs)
    if row_bytes > _ROW_BYTES:
        raise InputError(
            f"{model[0].path}: the layers of one text take {row_bytes / 2**30:.1f} GB; "
            "take a shorter --signature"
        )
    sums = {pair.layer: _Sums() for pair in pairs}
    rows = len(next(iter(inputs.values())))
    step = max(1, _BATCH_BYTES // max(1, row_bytes))
    with tempfile.TemporaryDirectory(prefix="tfedge-") as folder:
        ours_run = _Run(model, [pair.tensor for pair in pairs], board, Path(folder) / "a.tflite")
        theirs_run = _Run(
            reference, [pair.other for pair in pairs], board, Path(folder) / "b.tflite"
        )
        for start in range(0, rows, step):
            part = {name: array[start : start + step] for name, array in inputs.items()}
            found, expected = (run.tensors(part, progress) for run in (ours_run, theirs_run))
            for pair, actual, true in zip(pairs, found, expected, strict=True):
                if actual.shape != true.shape:
                    raise InputError(
                        f"layer {pair.layer!r} is {actual.shape} in {model[0].path} when it runs and "
                        f"{true.shape} in {reference[0].path}, whatever the files say"
                    )
                sums[pair.layer].add(
                    _real(actual, ours[pair.tensor]), _real(true, theirs[pair.other])
                )
    return Comparison([sums[pair.layer].noise(pair) for pair in pairs], unmatched)


def _tensors(model: ModelFile, signature: Signature) -> list[Tensor]:
    return model.subgraphs[signature.subgraph].tensors


def _match(
    model: tuple[ModelFile, Signature], reference: tuple[ModelFile, Signature]
) -> tuple[list[_Pair], list[str]]:
    """Layers of both, and those of the first that have no counterpart."""
    ours, theirs = (_tensors(*side) for side in (model, reference))
    found, others = (
        layer_outputs(file.subgraphs[signature.subgraph], signature)
        for file, signature in (model, reference)
    )
    pairs, unmatched = [], []
    for layer, (operator, tensor) in found.items():
        mine = ours[tensor]
        if not mine.is_float and mine.scale is None:
            continue  # indices and counts, which are exact
        _, other = others.get(layer, (0, None))
        if other is None or theirs[other].shape != mine.shape or not theirs[other].is_float:
            unmatched.append(layer)
        else:
            pairs.append(_Pair(layer, operator, tensor, other))
    return pairs, unmatched


class _Run:
    """A model whose tensors inside are outputs too, so that its runtime keeps them to be read.

    A runtime reuses the memory of a tensor that nothing reads any more. With
    `experimental_preserve_all_tensors` tflite-runtime 2.14 still lets SOFTMAX, ADD and others write
    over their operands; no runtime does so to an output.

    Args:
        copy: where the model that does so is written.
    """

    def __init__(
        self, model: tuple[ModelFile, Signature], indices: list[int], board: Board, copy: Path
    ) -> None:
        self._file, self._signature = model
        self._indices, self._board, self._copy = indices, board, copy
        editor = Editor(Path(self._file.path).read_bytes())
        graph = editor.tree.subgraphs[self._signature.subgraph]
        graph.outputs = np.array(list(dict.fromkeys([*graph.outputs, *indices])), np.int32)
        editor.tree.metadata = editor.tree.metadataBuffer = None
        copy.write_bytes(editor.content())

    def tensors(self, inputs: Inputs, progress: Callable[[int], None]) -> list[np.ndarray]:
        """Each tensor for all rows of `inputs`, in its own dtype."""
        entry = (self._signature.key, self._signature.subgraph)
        try:
            return self._board.tensors(self._copy, entry, inputs, self._indices, progress)
        except RejectedModelError as error:  # names the copy, which the user has never seen
            raise RejectedModelError(
                str(error).replace(str(self._copy), self._file.path)
            ) from error


def _real(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """What a tensor stands for, float64."""
    detail = {"quantization": (tensor.scale or 0, tensor.zero_point or 0)}
    return dequantise(values, detail).astype(np.float64).ravel()


class _Sums:
    """Adds up one layer over batches of rows."""

    def __init__(self) -> None:
        self._count = 0
        self._signal = self._error = self._power = self._product = 0.0

    def add(self, actual: np.ndarray, true: np.ndarray) -> None:
        self._count += true.size
        with np.errstate(over="ignore", invalid="ignore"):  # `noise` refuses what is not finite
            difference = true - actual
            self._signal += float(true @ true)
            self._power += float(actual @ actual)
            self._product += float(true @ actual)
            self._error += float(difference @ difference)

    def noise(self, pair: _Pair) -> LayerNoise:
        sums = (self._signal, self._error, self._power, self._product)
        if not all(map(math.isfinite, sums)):
            raise InputError(f"layer {pair.layer!r} has values that are not finite")
        snr, cosine = None, None
        if self._signal and self._error:
            snr = 10 * math.log10(self._signal / self._error)
        if self._signal and self._power:
            cosine = self._product / math.sqrt(self._signal * self._power)
        error, signal = (math.sqrt(x / max(1, self._count)) for x in (self._error, self._signal))
        return LayerNoise(pair.layer, pair.operator, snr, cosine, error, signal)
