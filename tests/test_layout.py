"""How the code is laid out: data flows one way, nothing goes in circles, and nothing is too long."""

from __future__ import annotations

import ast
import functools
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
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
    "boards",
    "measure",
    "inspect",
    "edgetpu",
    "conversion",
    "report",
    "recipes",
    "cli",
    "api",
]
# Where the names of architectures and tasks are at home.
REGISTRIES = ("tfedge/architectures/", "tfedge/tasks/")
COMPARED = re.compile(r"model_type (==|in)|task ==|== \"text-|reads_images")
LINES, FUNCTION_LINES, PARAMETERS = 400, 50, 6
Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def _modules() -> dict[str, Path]:
    """Every module of the package and of the benchmarks, by its name."""
    paths = itertools.chain((ROOT / "tfedge").rglob("*.py"), (ROOT / "benchmarks").rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(paths)
    }


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, functions too, but for what only a type checker reads."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _at_run_time(child)


@functools.cache
def _imports(module: str) -> frozenset[str]:
    """What a module imports; `from package import module` is the module."""
    names: set[str] = set()
    for node in _at_run_time(_tree(_modules()[module])):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = node.module or ""
            inner = {f"{package}.{alias.name}" for alias in node.names} & set(_modules())
            names |= inner
            if len(inner) < len(node.names):
                names.add(package)
    return frozenset(names)


def _folder(module: str) -> str:
    """`quantize` of `tfedge.quantize.plan`; of modules that lie in no folder, an empty string."""
    path = _modules()[module].relative_to(ROOT / "tfedge")
    return path.parts[0] if len(path.parts) > 1 else ""


def _ours(folder: str) -> set[str]:
    """The modules of a folder of tfedge, "" for those in none."""
    return {name for name in _modules() if name.startswith("tfedge") and _folder(name) == folder}


def _imported_folders(folder: str, without: str = "") -> set[str]:
    imported = {name for module in _ours(folder) - {without} for name in _imports(module)}
    return {_folder(name) for name in imported & set(_modules()) if name.startswith("tfedge")}


def test_every_folder_has_its_place() -> None:
    folders = {_folder(name) for name in _modules() if name.startswith("tfedge")}
    assert folders <= {*STAGES, "runtime", ""}


def test_the_board_side_imports_nothing_of_the_rest() -> None:
    imported = {name for module in _ours("runtime") for name in _imports(module)}
    assert _imported_folders("runtime") <= {"runtime", ""}
    assert imported & _ours("") <= {"tfedge", "tfedge.start"}  # its version, and where it starts
    heavy = {"tensorflow", "tf_keras", "transformers", "safetensors", "rich", "pydantic"}
    assert not {name.split(".")[0] for name in imported} & heavy


def test_modules_of_no_folder_import_only_each_other() -> None:
    """Errors, files and the like: every folder uses them. Where programs start, they are imported."""
    assert _imported_folders("", without="tfedge.start") <= {"", "runtime"}


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_imports_a_later_one(stage: str) -> None:
    later = set(STAGES[STAGES.index(stage) + 1 :])
    assert not _imported_folders(stage) & later


def test_no_module_imports_itself_by_others() -> None:
    """Nor by an import within a function."""
    graph = {module: _imports(module) & set(_modules()) - {module} for module in _modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_peers_import_only_the_board_side() -> None:
    """Their Python has nothing of the host's."""
    peers = {name for name in _modules() if name.startswith("benchmarks.peers")}
    inside = {name for module in peers for name in _imports(module)} & set(_modules())
    assert {_folder(name) for name in inside if name.startswith("tfedge")} <= {"runtime"}
    assert {name for name in inside if name.startswith("benchmarks")} <= peers


def test_tfedge_imports_no_benchmark() -> None:
    """They are no part of the wheel."""
    ours = {name for name in _modules() if name.startswith("tfedge")}
    found = {name for module in ours for name in _imports(module)}
    assert not {name for name in found if name.split(".")[0] == "benchmarks"}


def _functions() -> Iterator[tuple[str, Function]]:
    for module, path in _modules().items():
        for node in ast.walk(_tree(path)):
            if isinstance(node, Function):
                yield f"{module}.{node.name}", node


def _parameters(function: Function) -> int:
    found = function.args
    names = [one.arg for one in (*found.posonlyargs, *found.args, *found.kwonlyargs)]
    names += [one.arg for one in (found.vararg, found.kwarg) if one]
    return len([name for name in names if name not in ("self", "cls")])


def test_no_function_takes_many_parameters() -> None:
    found = {name: _parameters(node) for name, node in _functions()}
    assert not {name: count for name, count in found.items() if count > PARAMETERS}


def test_nothing_is_long() -> None:
    """Functions without their decorators and docstrings."""
    files = {
        module: len(path.read_text(encoding="utf-8").splitlines())
        for module, path in _modules().items()
    }
    assert not {module: count for module, count in files.items() if count > LINES}
    functions: dict[str, int] = {}
    for name, node in _functions():
        first = node.body[0]
        documented = ast.get_docstring(node) is not None
        documentation = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
        functions[name] = (node.end_lineno or 0) - node.lineno + 1 - documentation
    assert not {name: count for name, count in functions.items() if count > FUNCTION_LINES}


def test_only_the_registries_compare_names() -> None:
    """Elsewhere a task or an architecture is asked."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "tfedge").rglob("*.py"))
        if not str(path.relative_to(ROOT)).startswith(REGISTRIES)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if COMPARED.search(line)
    ]
    assert not found


def _loaded(imported: str, packages: set[str]) -> str:
    """Which of some packages an import loads."""
    program = f"import sys, {imported}; print(*{packages!r} & set(sys.modules))"
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_the_base_imports_no_peer() -> None:
    """Only modules that the peers' Python runs import their packages, and the registry none."""
    peers = {"torch", "MNN", "onnxruntime", "openvino", "nncf", "ai_edge_quantizer"}
    assert _loaded("tfedge.cli, benchmarks.peer", peers) == ""


def test_importing_tfedge_loads_nothing_of_it() -> None:
    """Functions of the host are imported when they are asked for, what they need when they are called:
    a board has nothing of it."""
    assert _loaded("tfedge", {*_modules(), "numpy", "click"} - {"tfedge"}) == ""
    assert _loaded("tfedge.api", {"numpy", "click", "rich", "tensorflow", "pydantic"}) == ""
    assert not {name for name in _imports("tfedge") if name.startswith("tfedge")}


def test_no_module_hides_a_function() -> None:
    """Importing `tfedge.x` would set the attribute `x` of tfedge."""
    program = """
import importlib, pkgutil, sys, tfedge
for module in pkgutil.walk_packages(tfedge.__path__, "tfedge."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*(name for name in tfedge.__all__ if not callable(getattr(tfedge, name))))
print(*(name for name in tfedge.__all__ if f"tfedge.{name}" in sys.modules))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_importing_the_board_side_loads_nothing_heavy() -> None:
    heavy = {"tensorflow", "transformers", "safetensors", "rich"}
    assert _loaded("tfedge.runtime", heavy) == ""
