"""The role for Ansible in examples/: on boards behind a real sshd, twice, and in check mode.

TFEDGE_ANSIBLE names the folder of Ansible's programs. No systemd is asked anything here: what is in the
units is what `tfedge.boards.service` has there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blocks import ROOT
from server import Server

from tfedge.boards.agent import FOLDER, MODELS, PYTHON
from tfedge.boards.remote import Remote
from tfedge.boards.service import Service, units
from tfedge.boards.wheels import own_wheel

pytestmark = pytest.mark.ansible

EXAMPLE = ROOT / "examples" / "ansible"
ROLE = EXAMPLE / "roles" / "tfedge_board"
BOARDS = ("shed", "attic")
BIN = Path(os.environ.get("TFEDGE_ANSIBLE", ".venv-ansible/bin")).absolute()


@pytest.fixture
def play(
    boards: Server, offline: Path, toys: Path, tmp_path: Path
) -> Callable[..., dict[str, int]]:
    """Runs the role on two boards; gives how much it has changed, by board."""
    wheels = tmp_path / "some wheels"  # as few as do
    wheels.mkdir()
    own_wheel(wheels)
    (pip,) = offline.glob("pip-*.whl")
    shutil.copy(pip, wheels)
    settings = {
        "tfedge_board_wheels": str(wheels),
        "tfedge_board_python": sys.executable,
        "tfedge_board_models": [str(toys / "classifier.tflite")],
        "ansible_python_interpreter": sys.executable,
    }
    playbook = tmp_path / "play.json"  # YAML, too
    playbook.write_text(json.dumps([{"hosts": "all", "roles": [{"role": "tfedge_board"}]}]))

    def run(*options: str, **changes: Any) -> dict[str, int]:
        command = [str(BIN / "ansible-playbook"), "-i", f"{','.join(BOARDS)},", *options]
        command += ["--extra-vars", json.dumps({**settings, **changes}), str(playbook)]
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "ANSIBLE_ROLES_PATH": str(EXAMPLE / "roles"),
            "ANSIBLE_SSH_TRANSFER_METHOD": "piped",
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_REMOTE_TMP": str(tmp_path / "there"),  # it bears no blanks in home folders
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr
        return {
            name: int(changed)
            for name, changed in re.findall(
                r"^(\w+) +: ok=\d+ +changed=(\d+)", done.stdout, re.MULTILINE
            )
        }

    return run


def test_twice_and_in_check_mode(
    play: Callable[..., dict[str, int]],
    boards: Server,
    remote: Callable[[str], Remote],
) -> None:
    homes = [boards.homes[name] for name in BOARDS]
    assert all(play("--check").values())
    assert not any((home / FOLDER).exists() for home in homes)
    play()
    for home, name in zip(homes, BOARDS, strict=True):
        assert (home / PYTHON).exists()
        assert [path.name for path in (home / MODELS).iterdir()] == ["classifier.tflite"]
        # `tfedge board` finds it, takes nothing of it away, and measures with it.
        remote(name).check()
        assert [row["name"] for row in remote(name).models()] == ["classifier.tflite"]
    assert play() == play("--check") == dict.fromkeys(BOARDS, 0)


def test_the_units_are_those_of_setup(toys: Path) -> None:
    """But that they are the system's, of a user."""
    ours = units(Service("NAME", toys / "classifier.tflite", 300), None)
    for text, template in zip(ours.values(), ("socket.j2", "service.j2"), strict=True):
        theirs = (ROLE / "templates" / template).read_text(encoding="utf-8")
        keys = [set(re.findall(r"^\w+(?==)", one, re.MULTILINE)) for one in (text, theirs)]
        assert keys[1] - keys[0] <= {"User", "SocketUser"}
        assert keys[0] <= keys[1]


def test_lint() -> None:
    command = [str(BIN / "ansible-lint"), "--offline", "--strict", "boards.yml", "roles"]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=EXAMPLE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_galaxy_takes_the_role(tmp_path: Path) -> None:
    """Its description has what `ansible-galaxy` reads."""
    command = [str(BIN / "ansible-galaxy"), "role", "info", "--offline", "tfedge_board"]
    command += ["--roles-path", str(EXAMPLE / "roles")]
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path)}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "description: BERT- and ViT-like models on small boards" in done.stdout
