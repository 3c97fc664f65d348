"""How long a search among 100,000 passages takes, and how much memory: prints both.

python tests/runtime/search_speed.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tfedge.runtime.machine import peak_rss_bytes
from tfedge.runtime.search import About, Index

COUNT, WIDTH, CHARACTERS = 100_000, 384, 200


def make(path: Path) -> None:
    """An index of vectors in random directions."""
    vectors = np.random.default_rng(0).integers(-127, 128, size=(COUNT, WIDTH), dtype=np.int8)
    arrays = {
        "vectors": vectors,
        "scales": 1 / np.linalg.norm(vectors.astype(np.float32), axis=1),
        "files": np.zeros(COUNT, np.int32),
        "lines": np.ones(COUNT, np.int32),
        "ends": np.arange(1, COUNT + 1) * CHARACTERS,
        "texts": np.full(COUNT * CHARACTERS, ord("x"), np.uint8),
    }
    Index(About("m", "f", ("a.txt",)), arrays).save(path)


def peak() -> float:
    """Megabytes."""
    return (peak_rss_bytes() or 0) / 1e6


def search(path: Path) -> None:
    before, start = peak(), time.perf_counter()
    index = Index.load(path)
    print(f"file    {path.stat().st_size / 1e6:.0f} MB")
    print(f"load    {time.perf_counter() - start:.2f} s")
    times = []
    for query in np.random.default_rng(1).normal(size=(20, WIDTH)):
        start = time.perf_counter()
        index.nearest(query)
        times.append(time.perf_counter() - start)
    print(f"search  {np.median(times):.3f} s, {max(times):.3f} at most")
    print(f"memory  {peak() - before:.0f} MB beyond the {before:.0f} MB of Python and numpy")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        search(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            make(path := Path(folder, "x.npz"))
            # In a process that has not held what it took to make it.
            subprocess.run([sys.executable, __file__, str(path)], check=True)
