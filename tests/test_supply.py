"""What is installed and released: fixed by hashes, looked up for faults, the same bytes twice."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
RELEASE_BIN = ROOT / ".venv-release/bin"
# Only on systems that tfedge is not made for, so constraints.txt says nothing about them.
ELSEWHERE = {"colorama", "httpx2-jsfetch"}
LINE = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, set[str]]:
    """The versions of each package; numpy has two, for older and newer Pythons."""
    found: dict[str, set[str]] = {}
    for name, version in LINE.findall(text):
        found.setdefault(normal(name), set()).add(version.rstrip(";"))
    return found


def asked_for(*extras: str) -> set[str]:
    """The names that setup.cfg asks for."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    blocks = [setup["options"]["install_requires"]]
    blocks += [setup["options.extras_require"][extra] for extra in extras]
    lines = "\n".join(blocks).split("\n")
    return {normal(re.split(r"[<>=;]", line)[0]) for line in lines if line.strip()}


@pytest.mark.parametrize(
    ("file", "extras"), [("board", ()), ("host", ("convert", "image")), ("release", None)]
)
def test_every_file_that_is_installed_has_a_hash(file: str, extras: tuple[str, ...] | None) -> None:
    """`pip install --require-hashes` refuses all else; versions are those that are tested."""
    text = (REQUIREMENTS / f"{file}.txt").read_text(encoding="utf-8")
    locked, tested = pins(text), pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    if extras is not None:
        wanted = asked_for(*extras)
        assert wanted <= set(locked)
        assert wanted <= set(tested)
        assert set(locked) - set(tested) - ELSEWHERE <= {"setuptools", "wheel"}
    both = set(locked) & set(tested)
    assert {name: locked[name] for name in both} == {name: tested[name] for name in both}
    for entry in re.split(r"\n(?=\S)", text):
        if LINE.match(entry):
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.split()[0]


def audit(tmp_path: Path, said: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "pip-audit"
    (tmp_path / "said").write_text(said)
    program.write_text(f'#!/bin/sh\ncat "{tmp_path}/said"\n')
    program.chmod(0o700)
    command = [sys.executable, str(ROOT / ".ci/audit"), str(program), "a.txt"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 packages, 0 with known faults"),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}],
            1,
            "a 1: X-1, mended in 2",
        ),
        ([{"name": "a", "skip_reason": "not found"}], 0, "left out: the registry here has no list"),
        (
            [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}],
            1,
            "b: not found",
        ),
        ([], 1, "0 packages"),
    ],
)
def test_what_the_registry_says_of_faults(
    tmp_path: Path, packages: list[dict[str, object]], code: int, said: str
) -> None:
    done = audit(tmp_path, json.dumps({"dependencies": packages}))
    assert done.returncode == code, done.stderr
    assert said in done.stdout


def test_no_answer_is_no_clean_bill(tmp_path: Path) -> None:
    assert audit(tmp_path, "Traceback").returncode == 1


def _built(folder: Path, umask: str) -> dict[str, str]:
    """SHA-256 of what a clone of HEAD that has other rights on its files builds."""
    git = ["git", "-c", "safe.directory=*", "clone", "--quiet", str(ROOT), str(folder)]
    script = f'umask {umask}; "$@" && exec "{folder}/.ci/dist" "{RELEASE_BIN}"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *git],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = [*(folder / "dist").iterdir(), *(folder / "build/sbom").iterdir()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made}


@pytest.mark.skipif(
    not RELEASE_BIN.is_dir(), reason="`make dist` makes the environment that builds a release"
)
def test_a_commit_is_the_same_bytes_twice(tmp_path: Path) -> None:
    first, second = _built(tmp_path / "a", "022"), _built(tmp_path / "elsewhere", "077")
    assert first == second
    assert len(first) == 4  # wheel, source distribution, a bill of materials of each half
    for half in ("board", "host"):
        (bill,) = (tmp_path / "a/build/sbom").glob(f"*-{half}.cdx.json")
        content = json.loads(bill.read_text(encoding="utf-8"))
        assert content["metadata"]["component"]["name"] == "tfedge"
        assert content["metadata"]["component"]["version"] in bill.name
        named = {component["name"] for component in content["components"]}
        assert {"numpy", "tokenizers", "click"} <= named
        assert ("tensorflow" in named) == (half == "host")
