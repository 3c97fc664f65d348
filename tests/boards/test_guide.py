"""docs/boards.md: its commands are run as they stand there, on boards behind a real sshd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import server
import toy_folders
from blocks import ROOT, blocks
from stand_ins import programs

from tfedge import cli
from tfedge.boards.book import book_path
from tfedge.boards.errors import BoardError

PAGE = "docs/boards.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
BLOCKS = list(blocks(PAGE, TEXT))
# By tests/boards/test_service.py, which has no systemd listen, and by test_ansible.py.
ELSEWHERE = ("--service", "socat", "ansible-playbook")
SHELL = [
    block
    for block in BLOCKS
    if block.language == "sh" and not any(map(block.text.count, ELSEWHERE))
]
# The board's user is the one who runs this.
_SSH = """#!/bin/bash
for word; do
  if [ "$before" = -l ] || [ "$word" = -l ]; then before=$word; else words+=("$word"); before=; fi
done
exec {ssh} "${{words[@]}}"
"""


@pytest.fixture
def reader(
    ready: server.Server, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with what the page takes, and boards of its names."""
    folder = tmp_path / "reader"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(toys / "int8.tflite", folder / "tinybert_int8.tflite")
    toy_folders.write_sentences(folder / "dev.tsv", 24)
    program = folder / "bin" / "tfedge"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tfedge.cli "$@"\n')
    client = folder / "bin" / "ssh"
    client.write_text(_SSH.format(ssh=ready.bin / "ssh"))
    for path in (program, client):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book_path().parent.mkdir(parents=True)
    (toml,) = (block.text for block in BLOCKS if block.language == "toml")
    # The runtimes there are those of this machine.
    book_path().write_text(toml.replace('runtime = "litert"\n', "").replace("port = 22\n", ""))
    return folder


def run(text: str, folder: Path) -> None:
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    assert done.stdout


def test_all_of_it_runs(reader: Path) -> None:
    """But for setup, which takes its time: tests/boards/test_setup.py."""
    for block in SHELL:
        assert programs(block.text) == {"tfedge"}
        if "board setup" not in block.text:
            run(block.text, reader)


def test_every_command_is_there() -> None:
    text = "".join(block.text for block in BLOCKS)
    assert set(re.findall(r"tfedge board (\w+)", text)) == set(cli.board.commands)
    for command in ("eval", "bench", "inspect", "convert"):
        assert re.search(rf"tfedge {command} [^`]*--board", TEXT)


def test_every_exit_code_is_there() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    assert codes == {kind.exit_code for kind in BoardError.__subclasses__()}
