"""Makes what is costly once a run of the tests, for all processes and all tests of it."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Once:
    """Folders that are made once.

    Attributes:
        root: a folder of this run alone, so that no change of the code can be overlooked.
    """

    root: Path

    def folder(self, key: str, make: Callable[[Path], None]) -> Path:
        """What `make` has put into the empty folder that it is given; nobody may change it.

        Args:
            key: says all that what is made depends on, but for the code.
        """
        made = self.root / hashlib.sha256(key.encode()).hexdigest()[:16]
        with open(made.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                partial = made.with_suffix(".partial")
                shutil.rmtree(partial, ignore_errors=True)  # of a process that failed
                partial.mkdir()
                make(partial)
                os.replace(partial, made)
        return made


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder and their names."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in filter(Path.is_file, files):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{file.relative_to(path)}\0{content}\n".encode())
    return total.hexdigest()
