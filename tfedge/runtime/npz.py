"""Reads .npz files that somebody else may have made: data only, checked before memory is taken; and
writes them."""

from __future__ import annotations

import contextlib
import math
import tokenize
import warnings
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from tfedge.runtime.bundle import ARCHIVE_ERRORS, Bounded

# What zipfile and numpy raise of a file that is damaged.
DAMAGE = (*ARCHIVE_ERRORS, SyntaxError, tokenize.TokenError, RecursionError, UserWarning)
# How many times its size a file may hold; one of numbers that are packed well, and what any may hold.
_MOST_PACKED, _PLAUSIBLE_BYTES = 50, 16 << 20
_NUMBERS = "biuf"  # the kinds of numpy's types that models have
# Of an array's name, type, shape and whether it is in Fortran's order; raises ValueError.
Check = Callable[[str, np.dtype, Sequence[int], bool], None]


def read_npz(
    source: Path | BinaryIO, wanted: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """The arrays of a file by name, all of them or those `wanted` that it has; numbers of any shape.

    Raises ValueError where they are none, or claim more than the file can hold, OSError and others of
    `DAMAGE`.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
        archive = stack.enter_context(zipfile.ZipFile(cast("BinaryIO", Bounded(file))))
        size = file.seek(0, 2)
        members = {
            member.filename.removesuffix(".npy"): member
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }
        names = [name for name in members if wanted is None or name in wanted]
        claimed = sum(members[name].file_size for name in names)
        if claimed > max(_PLAUSIBLE_BYTES, _MOST_PACKED * size):
            raise ValueError(f"its arrays claim {claimed:,} bytes in a file of {size:,}")
        return {name: read_member(archive, name, _check_numbers) for name in names}


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name; raises OSError, which has the path, where the disk does not take them."""
    try:
        with path.open("wb") as file:
            pack(file, arrays)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def pack(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """As `np.savez`, which leaves its archive open where the disk is full, and Python then prints a
    traceback as it closes it."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def _check_numbers(name: str, dtype: np.dtype, shape: Sequence[int], is_fortran: bool) -> None:
    if dtype.kind not in _NUMBERS:
        raise ValueError(f"{name} has the type {dtype}, which is none of numbers")


def read_member(archive: zipfile.ZipFile, name: str, check: Check) -> np.ndarray:
    """An array of an archive. Raises ValueError where the member is none, or has another size than the
    array, what `check` raises, and others of `DAMAGE`."""
    with archive.open(f"{name}.npy") as stream, warnings.catch_warnings():
        warnings.simplefilter("error")  # of a header as Python 2 wrote it
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} is of another version of .npy")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        check(name, dtype, shape, is_fortran)
        left = archive.getinfo(f"{name}.npy").file_size - stream.tell()
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != left:
            raise ValueError(f"{name} has shape {shape} and {left} bytes")
        stream.seek(0)
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        return array
