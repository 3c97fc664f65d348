"""The table of costs that ships knows what tfedge converts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import toy_folders
from conversions import converted, several_lengths
from once import Once

from tfedge.inspect.estimate import estimate_files, known_boards


@pytest.mark.parametrize("mode", ["int8", "dynamic", "float32"])
def test_a_bert(tmp_path: Path, once: Once, mode: str) -> None:
    data = toy_folders.write_sentences(tmp_path / "toy.tsv", 24)
    source = toy_folders.write_folder(tmp_path / "toy", small=True)
    options = dataclasses.replace(several_lengths(mode, data), runtime="litert")
    model = converted(once, source, options) / f"toy_{mode}.tflite"
    for board in known_boards():
        graphs = estimate_files([str(model)], board, ()).files[0].graphs
        assert [graph.tokens for graph in graphs] == [8, 12, 16]
        # Of 12 tokens keys are filled up, which costs a toy more than 4 tokens do.
        assert graphs[0].ms < min(graph.ms for graph in graphs[1:])
