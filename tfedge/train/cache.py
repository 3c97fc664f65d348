"""A teacher's outputs for all texts on disk, for when they are learned from more than once.

A folder for each teacher, set of texts and choice of outputs; nothing of it is ever changed, and
deleting it costs only time. Rows are in the order of the texts' lengths, so that both making and
reading them needs little memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge import files
from tfedge.errors import InputError
from tfedge.models.build import traced
from tfedge.train.examples import Examples, by_length

_FORMAT = 1
_LOGITS, _ROWS = "logits.npy", "rows.npy"
# Half precision: what a student is compared with need not be more exact than that.
_ROWS_DTYPE = np.dtype("<f2")
_LOGITS_DTYPE = np.dtype("<f4")


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What is kept of a teacher: logits (B, L) of texts and, of tokens, tensors side by side."""

    teacher: keras.Model
    lists: Mapping[str, Sequence[int]]  # its lists of tensors (B, S, C) by name, as the widths C

    @classmethod
    def of(cls, teacher: keras.Model, names: Sequence[str]) -> Outputs:
        """Of the lists that `teacher` puts out those called `names`."""
        outputs = teacher.output
        return cls(teacher, {name: [int(x.shape[-1]) for x in outputs[name]] for name in names})

    @property
    def width(self) -> int:
        """Values of a token."""
        return sum(map(sum, self.lists.values()))

    @property
    def num_labels(self) -> int:
        """Values of a text."""
        return int(self.teacher.output["logits"].shape[-1])

    def joined(self, outputs: Mapping[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
        """The outputs of a batch as logits (B, L) and rows (B, S, width)."""
        tensors = [tensor for name in self.lists for tensor in outputs[name]]
        rows = tf.concat(tensors, axis=-1) if tensors else tf.zeros((0, 0, 0))
        return outputs["logits"], rows

    def picked(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """What `split` gives, of a batch that has just been computed."""
        return {name: outputs[name] for name in ("logits", *self.lists)}

    def split(self, logits: tf.Tensor, rows: tf.Tensor) -> dict[str, Any]:
        """Logits (B, L) and rows (B, S, width) as the teacher puts them out."""
        result: dict[str, Any] = {"logits": logits}
        widths = [width for widths in self.lists.values() for width in widths]
        parts = iter(tf.split(rows, widths, axis=-1) if widths else ())
        for name, own in self.lists.items():
            result[name] = [next(parts) for _ in own]
        return result


class TeacherCache:
    """The outputs of one teacher for some texts, read as they are needed."""

    def __init__(self, folder: Path, outputs: Outputs, examples: Examples) -> None:
        """Raises InputError where a file is damaged."""
        lengths = np.asarray(examples.lengths)
        order = np.argsort(lengths, kind="stable")
        self._lengths = lengths
        self._places = np.argsort(order)
        self._starts = (np.cumsum(lengths[order]) - lengths[order])[self._places]
        shapes = (len(lengths), outputs.num_labels), (int(lengths.sum()), outputs.width)
        self._logits = _open(folder / _LOGITS, shapes[0], _LOGITS_DTYPE)
        self._rows = _open(folder / _ROWS, shapes[1], _ROWS_DTYPE)
        self.signature = (
            tf.TensorSpec((None, outputs.num_labels), tf.float32),
            tf.TensorSpec((None, None, outputs.width), tf.float32),
        )

    def batch(self, indices: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Logits float32 (B, L) and rows float32 (B, length, width) of some texts, 0 for padding."""
        rows = np.zeros((len(indices), length, self._rows.shape[1]), np.float32)
        for row, index in enumerate(indices):
            start, count = self._starts[index], self._lengths[index]
            rows[row, :count] = self._rows[start : start + count]
        return np.asarray(self._logits[self._places[indices]]), rows

    def nothing(self) -> tuple[np.ndarray, np.ndarray]:
        """What stands for a batch that the cache does not know."""
        return (
            np.zeros((0, self._logits.shape[1]), np.float32),
            np.zeros((0, 0, self._rows.shape[1]), np.float32),
        )


def open_cache(
    folder: Path,
    key: Mapping[str, Any],
    outputs: Outputs,
    examples: Examples,
    progress: Callable[[float], None],
) -> TeacherCache:
    """The cache for `key` in `folder`, made if it is not there yet; `progress` is told its share.

    The key is what decides the outputs besides texts and shapes: the teacher's hash, say. Raises
    InputError where there is not enough room, or the folder cannot be written.
    """
    # Labels of the texts are nothing that the teacher sees.
    texts = Examples(examples.sequences, np.zeros(0, np.int32)).sha256
    content = {"format": _FORMAT, "texts": texts, "lists": dict(outputs.lists), **key}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    target = folder / digest[:32]
    if not target.is_dir():
        size = sum(examples.lengths) * outputs.width * _ROWS_DTYPE.itemsize
        size += len(examples) * outputs.num_labels * _LOGITS_DTYPE.itemsize
        files.check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if size > free:
            raise InputError(
                f"the teacher's outputs take {size / 1e9:.2f} GB, and {folder} has room for "
                f"{free / 1e9:.2f} GB; choose another folder for the cache, or none"
            )
        _make(target, content, outputs, examples, progress)
    return TeacherCache(target, outputs, examples)


def _make(
    target: Path,
    content: Mapping[str, Any],
    outputs: Outputs,
    examples: Examples,
    progress: Callable[[float], None],
) -> None:
    teacher = outputs.teacher
    run = traced(lambda batch: outputs.joined(teacher(batch, training=False)), teacher.input)
    lengths, done = examples.lengths, 0
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        files.write_json(temporary / "key.json", content)
        # Written piece by piece: a mapped file on a full disk kills the process instead.
        with (temporary / _LOGITS).open("wb") as logits, (temporary / _ROWS).open("wb") as rows:
            for file, shape, dtype in (
                (logits, (len(lengths), outputs.num_labels), _LOGITS_DTYPE),
                (rows, (sum(lengths), outputs.width), _ROWS_DTYPE),
            ):
                header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            for indices, batch in by_length(examples, outputs.teacher):
                values, tokens = (tf.cast(tensor, tf.float32).numpy() for tensor in run(batch))
                logits.write(values.astype(_LOGITS_DTYPE).tobytes())
                for row, index in enumerate(indices if outputs.width else ()):
                    rows.write(tokens[row, : lengths[index]].astype(_ROWS_DTYPE).tobytes())
                done += len(indices)
                progress(done / len(examples))
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(
            f"cannot write the teacher's outputs to {target}: {error.strerror}; make room, or choose "
            "another folder for the cache"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r" if 0 not in shape else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}; delete its folder") from error
    if array.shape != shape or array.dtype != dtype:
        raise InputError(
            f"{path} holds {array.dtype} {array.shape}, not {dtype} {shape}; delete its folder"
        )
    return array
