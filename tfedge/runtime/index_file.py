"""The file of an index: arrays in an .npz, which is data only and is checked before memory is taken."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from tfedge.runtime import npz
from tfedge.runtime.bundle import Bounded
from tfedge.runtime.errors import IndexFileError, InferenceError, one_line

MAX_BYTES = 2 << 30  # of a file; 100,000 passages of 300 characters in 384 dimensions have 70 MB
# Name of an array -> its type and number of dimensions, for n passages:
ARRAYS: Mapping[str, tuple[str, int]] = {
    "about": ("|u1", 1),  # JSON, see `tfedge.runtime.search.About`
    "vectors": ("|i1", 2),  # (n, width)
    "scales": ("<f4", 1),  # (n,), what makes a vector one of length 1
    "files": ("<i4", 1),  # (n,), numbers of paths
    "lines": ("<i4", 1),  # (n,), from 1 on
    "ends": ("<i8", 1),  # (n,), where a passage ends in texts
    "texts": ("|u1", 1),  # UTF-8 of all passages
}


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The `ARRAYS` of a file, of these types and numbers of dimensions; raises IndexFileError."""
    try:
        if not stat.S_ISREG((found := os.stat(path)).st_mode):
            raise IndexFileError(f"{path}: not a file; give the .npz of `tfedge-infer index`")
        if found.st_size > MAX_BYTES:
            raise IndexFileError(f"{path}: {found.st_size} bytes; {MAX_BYTES} are allowed")
        with open(path, "rb") as file, zipfile.ZipFile(cast("BinaryIO", Bounded(file))) as archive:
            _check_members(archive.infolist(), found.st_size)
            return {name: npz.read_member(archive, name, _check) for name in ARRAYS}
    except FileNotFoundError:
        raise IndexFileError(f"{path}: no such file; make it with `tfedge-infer index`") from None
    except OSError as error:
        raise IndexFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except npz.DAMAGE as error:
        if isinstance(error, IndexFileError):
            raise
        raise damaged(path, error) from error


def damaged(path: str, error: Exception) -> IndexFileError:
    """What is said of a file that holds no index."""
    return IndexFileError(
        f"{path}: damaged, or not made by `tfedge-infer index`: {one_line(error)}; give another"
        " --index, or if it was one remove it and index again"
    )


def write_arrays(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a file so that a kill at any moment leaves the old one or the new one; raises
    InferenceError."""
    place = Path(path)
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            npz.pack(file, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, place)
    except OSError as error:
        raise InferenceError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Nothing is packed, so that no claim is larger than the file."""
    if sorted(member.filename for member in members) != sorted(f"{name}.npy" for name in ARRAYS):
        raise ValueError(f"it does not hold the arrays {', '.join(ARRAYS)}")
    is_packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    if is_packed or sum(member.file_size for member in members) > size:
        raise ValueError("it holds less than it claims")


def _check(name: str, dtype: np.dtype, shape: Sequence[int], is_fortran: bool) -> None:
    kind, dimensions = ARRAYS[name]
    if dtype.str != kind or is_fortran or len(shape) != dimensions:
        raise ValueError(f"{name} has type {dtype} and {len(shape)} dimensions")
