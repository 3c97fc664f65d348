"""Files of arrays that somebody made to do harm, or that are something else."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfedge.runtime.npz import DAMAGE, read_npz, write_npz

GOOD = {"a": np.arange(6, dtype=np.int32).reshape(2, 3), "b": np.array(0.5), "c": np.ones(2, bool)}


def header(text: str) -> bytes:
    """The beginning of an array in a file, as the text says it is."""
    line = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line


def described(kind: str, shape: str) -> bytes:
    return header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}")


# The member `a.npy`, and how it is packed.
BAD: dict[str, tuple[bytes, int]] = {
    "no array": (b"hello", zipfile.ZIP_STORED),
    "nothing": (b"", zipfile.ZIP_STORED),
    "brackets": (header("(" * 5000), zipfile.ZIP_STORED),
    "half a header": (header("{'descr': (("), zipfile.ZIP_STORED),
    "more than there is": (described("<f8", "(10000000000000,)"), zipfile.ZIP_STORED),
    "less than there is": (described("<f8", "(1,)") + b"\0" * 80, zipfile.ZIP_STORED),
    "a negative side": (described("<f8", "(-1,)"), zipfile.ZIP_STORED),
    "objects": (described("|O", "(1,)") + b"\0" * 8, zipfile.ZIP_STORED),
    "of Python 2": (described("<i8", "(2L,)") + b"\0" * 16, zipfile.ZIP_STORED),
    "words": (described("<U4", "(1,)") + b"\0" * 16, zipfile.ZIP_STORED),
    "imaginary numbers": (described("<c16", "(1,)") + b"\0" * 16, zipfile.ZIP_STORED),
    "much out of little": (
        described("|u1", "(90000000,)") + bytes(90_000_000),
        zipfile.ZIP_DEFLATED,
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_members(tmp_path: Path, kind: str) -> None:
    content, packing = BAD[kind]
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("a.npy", content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DAMAGE):
        read_npz(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    assert read_npz(path, ["another"]) == {}


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_archive(content: bytes) -> None:
    with pytest.raises(DAMAGE):
        read_npz(io.BytesIO(content))


def test_an_array_alone_is_none(tmp_path: Path) -> None:
    """numpy itself gives it in place of an archive."""
    with open(tmp_path / "x.npz", "wb") as file:
        np.save(file, GOOD["a"])
    with pytest.raises(DAMAGE):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_good_ones(tmp_path: Path, save: object) -> None:
    save(tmp_path / "x.npz", **GOOD)  # type: ignore[operator]
    found = read_npz(tmp_path / "x.npz")
    assert found.keys() == GOOD.keys()
    for name, array in GOOD.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert list(read_npz(tmp_path / "x.npz", ["b", "d"])) == ["b"]


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from tfedge.runtime.npz import write_npz
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    write_npz(Path(sys.argv[1]), {"a": np.zeros(100), "b": np.zeros(900)})
except OSError as error:
    print(error)
"""


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Where numpy's own archive is left open, and Python prints a traceback as it goes."""
    path = tmp_path / "a.npz"
    done = subprocess.run(
        [sys.executable, "-c", FULL, path],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"[Errno 27] File too large: '{path}'\n"
    assert done.stderr == ""


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", GOOD)
    for found in (read_npz(tmp_path / "a.npz"), np.load(tmp_path / "a.npz")):
        for name, array in GOOD.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)
