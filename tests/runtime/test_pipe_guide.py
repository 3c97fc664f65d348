"""What docs/pipe.md shows: the shell script runs as it stands there, the unit is one."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from program import COMMAND, ROOT, TIMEOUT_S, environment

GUIDE = (ROOT / "docs/pipe.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The one block of the guide in that language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    return str(found)


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_mqtt_bridge_answers_what_was_read(toys: Path, tmp_path: Path) -> None:
    """All programs get SIGTERM at once, as from systemd, with answers still to come."""
    texts, answers = tmp_path / "texts", tmp_path / "answers"
    texts.write_text("good film\nbad film\n" * 200 + "\n")
    program(
        tmp_path / "mosquitto_sub", f'[ "$*" = "-t texts -F %p" ] && cat {texts} && exec sleep 600'
    )
    program(tmp_path / "mosquitto_pub", f'[ "$*" = "-t answers -l" ] && exec cat > {answers}')
    script = block("sh")
    for shown, real in (
        ("/home/pi/edge/bin/tfedge-infer", shlex.join(COMMAND)),
        ("/home/pi/tinybert_int8.tflite", shlex.quote(str(toys / "classifier.tflite"))),
    ):
        assert shown in script
        script = script.replace(shown, real)
    (tmp_path / "answer.sh").write_text(script)
    with subprocess.Popen(
        ["/bin/sh", str(tmp_path / "answer.sh")],
        env={**environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        start_new_session=True,
    ) as shell:
        deadline = time.monotonic() + TIMEOUT_S
        while not (answers.exists() and answers.stat().st_size):
            assert time.monotonic() < deadline, "no answer came"
            time.sleep(0.01)
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(TIMEOUT_S)
        while True:  # until the rest of the group has ended, as systemd does
            try:
                os.killpg(shell.pid, 0)
            except ProcessLookupError:
                break
            assert time.monotonic() < deadline, "the pipe did not end"
            time.sleep(0.01)
    *found, last = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [answer["label"] for answer in found] == ["positive", "negative"] * 200
    assert last == {"text": "", "error": "the text is empty"}


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="a machine without systemd cannot judge a unit"
)
@pytest.mark.parametrize("is_wrong", [False, True])
def test_unit_is_one(is_wrong: bool, tmp_path: Path) -> None:
    """A wrong one is noticed, else the other case could not fail."""
    unit = tmp_path / "answer.service"
    content = block("ini")
    unit.write_text(content.replace("Restart=", "Restrat=") if is_wrong else content)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    # It also looks at what the unit depends on, of this machine; an unknown key is only a warning.
    said = [line for line in (done.stdout + done.stderr).splitlines() if "answer.service" in line]
    assert [("Unknown key" in line) for line in said] == [True] * is_wrong


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="a machine without systemd cannot judge a unit"
)
def test_unit_is_a_sandbox(tmp_path: Path) -> None:
    """Of 100 points, few of which are better; that it runs so was tried under systemd 252."""
    unit = tmp_path / "answer.service"
    unit.write_text(block("ini"))
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=12", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd older than 250 judges only what is installed")
    assert done.returncode == 0, done.stdout
