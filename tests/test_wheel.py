"""What a board installs: nothing of tests and benchmarks, and next to nothing of the host's half."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What setuptools puts into a wheel, without pip, which would fetch a setuptools of its own.
BUILD = """
import sys
from setuptools import Distribution
distribution = Distribution({"script_name": "setup.py"})
distribution.parse_config_files(["setup.cfg"])
command = distribution.get_command_obj("build_py")
command.build_lib = sys.argv[1]
distribution.run_command("build_py")
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Compressed sizes, in bytes, by the names of the wheel's files."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("tfedge", "benchmarks", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "arm")
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignored)
    shutil.copy(ROOT / "setup.cfg", folder / "source")
    command = [sys.executable, "-c", BUILD, str(folder / "built")]
    made = subprocess.run(command, cwd=folder / "source", capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(folder / "a.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (folder / "built").rglob("*"):
            archive.write(path, path.relative_to(folder / "built"))
        return {item.filename: item.compress_size for item in archive.infolist()}


def test_nothing_but_the_package(files: dict[str, int]) -> None:
    assert {name.split("/")[0] for name in files} == {"tfedge"}
    folders = {part for name in files for part in name.split("/")}
    assert not {part for part in folders if part.startswith(("test", "conftest", "benchmarks"))}
    assert {"tfedge/runtime/infer.py", "tfedge/data/sentences.tsv", "tfedge/py.typed"} <= set(files)
    assert {"tfedge/edgetpu/rules.json", "tfedge/show/page.css"} <= set(files)


def test_no_module_is_missing(files: dict[str, int]) -> None:
    assert {name for name in files if name.endswith(".py")} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "tfedge").rglob("*.py")
    }


def test_the_host_weighs_next_to_nothing(files: dict[str, int]) -> None:
    """Of the 24 MB that a board downloads; docs/measured.md has the figures."""
    board = sum(size for name, size in files.items() if name.startswith("tfedge/runtime/"))
    everything = sum(files.values())
    assert 60_000 < board < 135_000
    assert everything - board < 700_000
