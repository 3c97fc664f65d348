"""Netron and Model Explorer open our files, every graph of them.

`make test-viewers` runs this, with the Python of .venv-viewers in TFEDGE_VIEWERS_PYTHON. Netron is
JavaScript: its readers run in Node.js.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tfedge.inspect.graph import read_model

pytestmark = pytest.mark.viewers

HERE = Path(__file__).parent
FILES = ("classifier", "int8_output", "buckets", "embedder")


def python() -> str:
    return os.environ["TFEDGE_VIEWERS_PYTHON"]


def run(*command: str | Path) -> list[Any]:
    """The lines of JSON that a program prints."""
    result = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def operators(path: Path) -> list[int]:
    """How many operators each graph has, by our own reader."""
    return [len(graph.operators) for graph in read_model(path).subgraphs]


def test_netron(toys: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Netron's readers need Node.js: apt install nodejs")
    where = run(python(), "-c", "import json, netron; print(json.dumps(netron.__path__[0]))")
    netron = shutil.copytree(where[0], tmp_path / "netron")
    (netron / "package.json").write_text('{"type": "module"}')  # or Node.js takes it for CommonJS
    paths = [toys / f"{name}.tflite" for name in FILES]
    found = run(node, HERE / "netron.mjs", netron, *paths)
    for path, model in zip(paths, found, strict=True):
        assert model["format"] == "TensorFlow Lite v3"
        assert model["name"] == path.stem  # out of the metadata
        assert [graph["nodes"] for graph in model["graphs"]] == operators(path)
        assert all(len(graph["inputs"]) == 3 for graph in model["graphs"])


def test_model_explorer(toys: Path) -> None:
    paths = [toys / f"{name}.tflite" for name in FILES]
    found = run(python(), HERE / "read_model_explorer.py", *paths)
    assert len(found) == 2 * len(paths)
    for path, graphs in zip([path for path in paths for _ in range(2)], found, strict=True):
        assert len(graphs) == len(operators(path))
        # Inputs, outputs and constants are nodes too.
        counts = zip(graphs.values(), operators(path), strict=True)
        assert all(nodes > count for nodes, count in counts)
