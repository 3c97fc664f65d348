"""Converts a classifier for MNN with a last layer for the first token alone, which is all it reads.

Otherwise as `export_mnn`, which this is no kind of: it is for BERT's layers in classifiers alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers.export_mnn import DYNAMIC, write
from benchmarks.peers.settings import Settings, run_maker


def export(folder: Path, output: Path, settings: Settings, kinds: list[str]) -> Iterator[Path]:
    """Writes the model of each kind and yields its path.

    Raises:
        ValueError: see `load_graph`, `read_first` and `write`.
    """
    from benchmarks.peers.torch_graph import load_graph, read_first

    graph = load_graph(folder, settings, "eager").without_mask()
    read_first(graph)
    yield from write(graph, output, settings, kinds)


if __name__ == "__main__":
    sys.exit(run_maker("benchmarks.peers.export_mnn_first", (DYNAMIC,), export))
