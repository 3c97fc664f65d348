"""Boards that take the connection and then say nothing, or say it without end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bars import Bars
from server import Server

from tfedge.boards import agent, hearing, ssh
from tfedge.boards.errors import BoardError, BoardSilentError, UnreachableError
from tfedge.boards.models import answers
from tfedge.boards.remote import Remote
from tfedge.data.texts import Texts
from tfedge.measure.board import Board
from tfedge.measure.race import BenchOptions, bench

Named = Callable[[str], Remote]
TEXT = ["a good film"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No test waits for minutes, but for boards that are `ready`, which answer."""
    monkeypatch.setattr(ssh, "LINE_S", 2.0)
    if "ready" not in request.fixturenames:
        monkeypatch.setattr(ssh, "ANSWER_S", 3.0)


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < 80  # of the 90 s that the boards sleep


def with_python(board: Remote, home: Path, script: str) -> Remote:
    """A board whose Python is a shell script."""
    (home / "python").write_text(f"#!/bin/sh\n{script}\n")
    (home / "python").chmod(0o755)
    return Remote(dataclasses.replace(board.entry, python="./python"), Bars())


def busy(board: Remote, home: Path, script: str) -> Remote:
    """One that is as it should be, but for what its programs do."""
    return with_python(board, home, f'[ "$1" = -m ] && {script}\nexec {agent.PYTHON} "$@"')


def test_nothing_is_said(boards: Server, remote: Named) -> None:
    silent = with_python(remote("shed"), boards.homes["shed"], "exec sleep 90")
    with in_time(), pytest.raises(BoardSilentError, match=r"^shed: .* for 3 s; look") as raised:
        silent.check()
    assert raised.value.exit_code == 19
    assert "\n" not in str(raised.value)


def test_nothing_is_read(boards: Server, remote: Named, tmp_path: Path) -> None:
    """Of a file that it has asked for."""
    model = tmp_path / "a.tflite"
    model.write_bytes(os.urandom(9 << 20))
    script = f"echo '{agent.MARK}{{\"missing\": [0]}}'; exec sleep 90"
    deaf = with_python(remote("shed"), boards.homes["shed"], script)
    with in_time(), pytest.raises(BoardSilentError):
        deaf.push([model])


@pytest.mark.parametrize("script", ["exec yes", "yes | tr -d '\\n'"])
def test_something_else_is_said_without_end(
    boards: Server, remote: Named, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(ssh, "ANSWER_S", 60.0)
    endless = with_python(remote("shed"), boards.homes["shed"], script)
    with in_time(), pytest.raises(BoardError, match=r"^shed: it prints more than was asked for"):
        endless.check()


def test_errors_without_end_take_no_room(boards: Server, remote: Named) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    endless = with_python(remote("shed"), boards.homes["shed"], "exec yes mistake >&2")
    with in_time(), pytest.raises(BoardSilentError):
        endless.check()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("exec sleep 90", BoardSilentError),
        ("exec >&- sleep 90", BoardSilentError),  # its output is closed, and it goes on
        ("exec yes '{}'", BoardError),
        ("yes | tr -d '\\n'", BoardError),
    ],
)
def test_a_program_there(
    ready: Server,
    remote: Named,
    toys: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    kind: type[BoardError],
) -> None:
    """Whatever asks it."""
    monkeypatch.setattr("tfedge.measure.child._MOST_BYTES", 9 << 20)
    board, model = busy(remote("shed"), ready.homes["shed"], script), toys / "classifier.tflite"
    board.push([model])
    for ask in (
        lambda: board.json_of("-m", "tfedge.runtime.infer", "--doctor"),
        lambda: answers(board, model.name, TEXT),
        lambda: Board(remote=board).answers(model, TEXT),
        lambda: Board(remote=board).look(),
    ):
        with in_time(), pytest.raises(BoardError, match=r"^shed: ") as raised:
            ask()
        assert type(raised.value) is kind


def test_a_contestant(ready: Server, remote: Named, toys: Path) -> None:
    """A process that stays alive between its answers, and gives none."""
    board = busy(remote("shed"), ready.homes["shed"], "exec sleep 90")
    texts = Texts(TEXT, None, "toy.tsv")
    with in_time(), pytest.raises(BoardSilentError):
        bench([str(toys / "classifier.tflite")], texts, BenchOptions((), (1,), 1), Bars(), board)


def test_a_machine_that_takes_connections_and_is_no_sshd(
    boards: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ssh's own limit, which is set where the user's configuration has none."""
    monkeypatch.setitem(ssh._UNLESS_SET, "connecttimeout", ("none", "2"))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        entry = dataclasses.replace(Remote.named("shed", Bars()).entry, port=mute.getsockname()[1])
        with in_time(), pytest.raises(UnreachableError, match="timed out"):
            Remote(entry, Bars()).check()


def test_who_holds_the_pipe_open_is_not_waited_for() -> None:
    """As a connection that ssh keeps for the next ones does."""
    pipe = ssh.subprocess.PIPE
    command = ["/bin/sh", "-c", "echo first >&2; echo last >&2; sleep 90 & exit 3"]
    with contextlib.ExitStack() as stack:
        process = ssh.subprocess.Popen(command, stderr=pipe, start_new_session=True)
        stack.callback(os.killpg, process.pid, 9)
        assert process.stderr is not None
        words = hearing.LastWords(process.stderr)
        process.wait()
        begin = time.monotonic()
        assert words.line == "last"
        assert time.monotonic() - begin < 2
