"""Data flows one way: what each folder may import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = [
    "presets",
    "targets",
    "show",
    "architectures",
    "tasks",
    "models",
    "data",
    "quantize",
    "train",
    "tflite",
    "measure",
    "inspect",
    "edgetpu",
    "convert",
    "report",
    "recipes",
    "cli",
]


class _AtRunTime(ast.NodeTransformer):
    """Takes out what only a type checker reads."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else node


def _imports(folder: str) -> set[str]:
    names: set[str] = set()
    for path in (ROOT / "tfedge" / folder).glob("*.py"):
        tree: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
        if folder in ("architectures", "tasks"):  # they are given blocks, which later stages make
            tree = _AtRunTime().visit(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    return names


def test_the_board_side_imports_nothing_of_the_rest() -> None:
    imported = _imports("runtime")
    inside = {name for name in imported if name.startswith("tfedge.")}
    assert {name.split(".")[1] for name in inside} == {"runtime"}
    assert not {name.split(".")[0] for name in imported} & {
        "tensorflow",
        "tf_keras",
        "transformers",
    }


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_a_later_one(stage: str) -> None:
    later = set(STAGES[STAGES.index(stage) + 1 :])
    assert (
        not {name.split(".")[1] for name in _imports(stage) if name.startswith("tfedge.")} & later
    )


def test_peers_import_only_the_board_side() -> None:
    """Their Python has nothing of the host's."""
    inside = _imports("../benchmarks/peers")
    assert {name.split(".")[1] for name in inside if name.startswith("tfedge.")} == {"runtime"}
    assert {name.split(".")[1] for name in inside if name.startswith("benchmarks.")} == {"peers"}


def test_tfedge_imports_no_benchmark() -> None:
    """They are no part of the wheel."""
    found = {name for stage in (*STAGES, "runtime") for name in _imports(stage)}
    assert not {name for name in found if name.split(".")[0] == "benchmarks"}


def test_the_base_imports_no_peer() -> None:
    """Only modules that the peers' Python runs import their packages, and the registry none."""
    program = (
        "import sys, tfedge.cli, benchmarks.peer;"
        "print(*{'torch', 'onnxruntime', 'openvino', 'nncf', 'ai_edge_quantizer'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_importing_the_board_side_loads_nothing_heavy() -> None:
    program = (
        "import sys, tfedge.runtime;"
        "print(*{'tensorflow', 'transformers', 'safetensors', 'rich'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
