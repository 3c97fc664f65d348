"""What two models are compared on: texts or images, as their bundle reads them, or arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfedge import files, tasks
from tfedge.data.batches import as_inputs, pad
from tfedge.data.images import pixels_of, read_images
from tfedge.data.texts import package_texts, read_texts
from tfedge.errors import InputError
from tfedge.inspect.graph import ModelFile, Signature
from tfedge.runtime.bundle import MAX_SEQUENCE, Bundle
from tfedge.runtime.errors import InferenceError
from tfedge.runtime.inputs import MASKED_TEXT, TEXT_INPUTS
from tfedge.runtime.masks import MaskEncoder
from tfedge.runtime.npz import DAMAGE, read_npz
from tfedge.runtime.tokenizer import TextEncoder
from tfedge.tasks.base import Task

# Of the package's sentences calibration takes the first 200.
_UNSEEN = 280
Inputs = dict[str, np.ndarray]


def model_inputs(
    model: ModelFile, signature: Signature, bundle: Bundle | None, data: str | None, count: int
) -> tuple[Inputs, str]:
    """Rows for the signature's inputs.

    Raises InputError where the data cannot be used, or are needed.

    Args:
        bundle: whose tokeniser makes tokens of texts; None where no file has one.
        data: a file of texts, images, or an .npz; the package's own sentences by default.
        count: rows, at most.

    Returns:
        Arrays (n, ...) by the inputs' names, and where they come from.
    """
    if data is not None and data.endswith(".npz"):
        return _arrays(Path(data), signature, count), data
    if bundle is not None and (image := bundle.manifest.image) is not None:
        if data is None:
            raise InputError(f"{bundle.path} reads images: give a folder of them with --data")
        images = read_images(data).head(count)
        pixels = pixels_of(images.texts, image)
        return as_inputs(pixels, 0, list(signature.inputs)), images.source
    task = tasks.find(bundle.manifest.task) if bundle is not None else None
    length = _tokens(model, signature, TEXT_INPUTS if task is None else task.input.names)
    if bundle is None or task is None or length is None:
        raise InputError(
            f"{model.path} takes no texts, or has no tokeniser for them: give its inputs "
            f"with --data FILE.npz, an array (rows, ...) for each of {sorted(signature.inputs)}"
        )
    usual = task.usual(package_texts().tail(_UNSEEN), bundle.manifest.labels or ())
    texts = task.as_read(usual if data is None else read_texts(data))
    try:
        encoder = _encoder(bundle.tokenizer_json, length, task)
        starts = range(min(count, len(texts)))
        rows = [_full_row(encoder, texts.texts, start, length) for start in starts]
    except InferenceError as error:
        raise InputError(f"{texts.source}: {error}") from error
    return pad(rows, length, list(signature.inputs), encoder.pad_id), texts.source


def _encoder(tokenizer_json: bytes, length: int, task: Task) -> TextEncoder:
    """That of one window."""
    if task.input is MASKED_TEXT:
        return MaskEncoder(tokenizer_json, length)
    return TextEncoder(tokenizer_json, length, task.input.is_pair)


def _tokens(model: ModelFile, signature: Signature, names: Sequence[str]) -> int | None:
    """The tokens that a signature of a text encoder takes; None for one of anything else."""
    if "input_ids" not in signature.inputs or not set(signature.inputs) <= set(names):
        return None
    tensors = model.subgraphs[signature.subgraph].tensors
    shapes = {tensors[index].shape for index in signature.inputs.values()}
    shape = shapes.pop()
    fits = not shapes and len(shape) == 2 and shape[0] == 1 and 3 <= shape[1] <= MAX_SEQUENCE
    return shape[1] if fits else None


def _full_row(encoder: TextEncoder, items: Sequence[Any], start: int, length: int) -> np.ndarray:
    """Tokens of a text, or pair, and those of the last texts that follow it until the row is full.

    What a graph computes of padding is thrown away, but would be most of what is measured.
    """
    item = items[start]
    for step in range(1, length + 1):  # a text has a token at least
        (row,) = encoder.encode_batch([item])
        if len(row) >= length:
            break
        following = items[(start + step) % len(items)]
        if isinstance(item, tuple):
            item = (item[0], f"{item[1]} {following[1]}")
        else:
            item = f"{item} {following}"
    return row


def _arrays(path: Path, signature: Signature, count: int) -> Inputs:
    files.check_regular(path)
    try:
        arrays = read_npz(path, signature.inputs)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except DAMAGE as error:
        raise InputError(f"{path}: not a readable .npz file: {error}") from error
    if missing := sorted(set(signature.inputs) - set(arrays)):
        raise InputError(f"{path} lacks the inputs {missing}, an array (rows, ...) for each")
    lengths = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise InputError(f"{path}: its arrays need one number of rows, at least 1")
    return {name: array[:count] for name, array in arrays.items()}
