"""What docs/search.md shows runs as it stands there, with toys in place of the models.

The toys read 16 tokens, a letter each of most words, so they see more passages than the guide shows.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from program import COMMAND, ROOT, TIMEOUT_S, environment

GUIDE = (ROOT / "docs/search.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def run(folder: Path, *command: str, stdin: str = "") -> str:
    """What it prints, in a folder that has the program on its path."""
    path = os.pathsep.join((str(folder / "bin"), os.environ["PATH"]))
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment(), "PATH": path},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    shutil.copy(toys / "embedder.tflite", folder / "minilm.tflite")
    shutil.copy(toys / "reader.tflite", folder / "qa.tflite")
    (program := folder / "bin/tfedge-infer").parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    for block in blocks("sh"):
        if "jq" not in block:
            run(folder, "sh", "-ec", block)
    return folder


def test_notes(folder: Path) -> None:
    (again,) = [block for block in blocks("sh") if "echo" in block]
    assert re.search(r" 0 new, \d+ known, 0 gone\n$", run(folder, "sh", "-ec", again))
    assert (folder / "notes/people.md").read_text().count("Spare key") == 2


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")
def test_questions_by_the_shell(folder: Path) -> None:
    (block,) = [block for block in blocks("sh") if "jq" in block]
    assert re.fullmatch(r"\w+\n", run(folder, "sh", "-ec", block))


def test_questions_in_python(folder: Path) -> None:
    answers = run(folder, sys.executable, "-c", blocks("python")[0], stdin="Who?\nIs Ada?\n")
    assert re.fullmatch(r"(\w+\tnotes/\w+\.md:\d\n){2}", answers)
    assert "\nAda\tnotes/people.md:1\n" in answers


def test_api(folder: Path) -> None:
    program = blocks("python")[1].replace("The train leaves at nine.", "the film")
    answer = run(folder, sys.executable, "-c", program)
    assert re.fullmatch(r"\S+ mail/17 1 the film\n", answer)
    assert (folder / "mail.npz").exists()
