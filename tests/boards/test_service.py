"""A model as a service of a board's systemd."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server import Server

import tfedge
from tfedge.boards import agent
from tfedge.boards.agent import FOLDER, MODELS
from tfedge.boards.remote import Remote
from tfedge.boards.service import Service, read_service, serve, take_away, units
from tfedge.errors import InputError, MissingPackageError

Named = Callable[[str], Remote]


def exec_start(texts: dict[str, str]) -> list[str]:
    """The words of the program, with the home folder left open."""
    (text,) = (texts[name] for name in texts if name.endswith("@.service"))
    (line,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
    return shlex.split(line.removeprefix("ExecStart="))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("classifier.tflite", "is no service; give NAME=X.tflite"),
        ("=classifier.tflite", "is no service"),
        ("a=", "is no service"),
        ("../a=classifier.tflite", "is no service"),
        ("A b=classifier.tflite", "is no service"),
        ("a=none.tflite", "no such file"),
        ("a=a model.tflite", "a unit of systemd cannot name 'a model.tflite'; rename the file"),
        ("a=100%.tflite", "a unit of systemd cannot name '100%.tflite'"),
    ],
)
def test_what_is_no_service(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("classifier.tflite", "a model.tflite", "100%.tflite"):
        shutil.copy(toys / "classifier.tflite", name)
    with pytest.raises(InputError, match=words):
        read_service(text, None)


def test_units(toys: Path) -> None:
    model = toys / "classifier.tflite"
    texts = units(Service("answer", model), "litert")
    assert list(texts) == ["tfedge-answer.socket", "tfedge-answer@.service"]
    assert "ListenStream=%t/tfedge/answer.sock\n" in texts["tfedge-answer.socket"]
    assert exec_start(texts)[-5:] == [
        *("--model", f"%h/{MODELS}/classifier.tflite", "--json", "--runtime", "litert")
    ]
    assert "MemoryMax=135M" in texts["tfedge-answer@.service"]  # twice 64 MiB and what a toy takes
    own = units(Service("answer", model, 300), None)["tfedge-answer@.service"]
    assert "MemoryMax=300M" in own
    assert "--runtime" not in own


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="a machine without systemd cannot judge a unit"
)
@pytest.mark.parametrize("is_wrong", [False, True])
def test_systemd_knows_what_is_in_them(toys: Path, tmp_path: Path, is_wrong: bool) -> None:
    texts = units(Service("answer", toys / "classifier.tflite"), None)
    for name, text in texts.items():
        right = text.replace(f'"{exec_start(texts)[0]}"', "/bin/true")
        wrong = right.replace("MaxConn", "MuxConn").replace("MemoryMax", "MemoryMux")
        (tmp_path / name).write_text(wrong if is_wrong else right)
    command = ["systemd-analyze", "verify", str(tmp_path / "tfedge-answer.socket")]
    command.append(str(tmp_path / "tfedge-answer@1.service"))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "tfedge-answer" in line]
    assert bool(said) == is_wrong, said
    assert all("Unknown key" in line for line in said)


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="needs systemd's socket activation"
)
def test_each_connection_is_answered(
    ready: Server, remote: Named, toys: Path, tmp_path: Path
) -> None:
    """By what the unit starts, as systemd starts it."""
    remote("shed").push([toys / "classifier.tflite"])
    home = ready.homes["shed"]
    words = exec_start(units(Service("answer", toys / "classifier.tflite"), None))
    program = [word.replace("%h", str(home)) for word in words]
    place = tmp_path / "answer.sock"
    command = ["systemd-socket-activate", "--listen", str(place), "--accept", "--inetd", *program]
    with subprocess.Popen(command, cwd=home) as listening:
        try:
            deadline = time.monotonic() + 20
            while not place.exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for texts in (["a good film", "awful"], ["", "dull"]):
                with socket.socket(socket.AF_UNIX) as asked:
                    asked.connect(str(place))
                    asked.sendall("".join(f"{text}\n" for text in texts).encode())
                    asked.shutdown(socket.SHUT_WR)
                    lines = asked.makefile("rb").read().splitlines()
                assert [json.loads(line)["text"] for line in lines] == texts
        finally:
            listening.terminate()


def test_a_runtime_that_is_not_there(
    boards: Server, remote: Named, toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is sent."""
    digest = agent.digest(Path(tfedge.__file__).parent)
    monkeypatch.setattr(Remote, "facts", {"tfedge": digest, "runtimes": []})
    with pytest.raises(MissingPackageError, match=r"^shed has not .* --runtime \S+ brings it"):
        serve(remote("shed"), Service("answer", toys / "classifier.tflite"))
    assert not (boards.homes["shed"] / FOLDER).exists()


def test_what_a_board_is_asked(
    ready: Server, remote: Named, toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def json_of(self: Remote, *arguments: str, given: Any, asked: list[Any] = given) -> Any:
        asked.append((arguments, given))
        return {"changed": True, "folder": "/run/user/7", "note": None}

    monkeypatch.setattr(Remote, "json_of", json_of)
    service = Service("answer", toys / "classifier.tflite")
    served = serve(remote("shed"), service)
    assert (served.socket, served.changed) == ("/run/user/7/tfedge/answer.sock", True)
    assert [row["name"] for row in remote("shed").models()] == ["classifier.tflite"]
    module = ("-m", "tfedge.runtime.units")
    assert given == [(module, {"name": "tfedge-answer", "units": units(service, None)})]
    assert take_away(remote("shed"), "answer")
    assert given[1] == (module, {"name": "tfedge-answer", "units": {}})
    with pytest.raises(InputError, match="is no name of a service"):
        take_away(remote("shed"), "../x")
