"""The system's ssh, with its own configuration and keys: one connection each to a board's Python."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from typing import IO, Any

from tfedge.boards import agent
from tfedge.boards.answer import Answer, places_in, read_answer
from tfedge.boards.book import Entry
from tfedge.boards.errors import (
    SSH_FAILED,
    BoardError,
    BoardFullError,
    BoardPythonError,
    lacking,
    shell_failure,
    ssh_failure,
)
from tfedge.errors import MissingPackageError, TfedgeError

# Nothing is asked for, nothing is forwarded, and of a user's `RemoteCommand` nothing is run; warnings,
# which may follow what went wrong, are left out.
_OPTIONS = {
    "BatchMode": "yes",
    "ClearAllForwardings": "yes",
    "RemoteCommand": "none",
    "LogLevel": "ERROR",
}
# What ssh waits for without end where its configuration does not say: lower-case names as `ssh -G` has
# them, what they are there, and what is taken then.
_UNLESS_SET = {"connecttimeout": ("none", "15"), "serveraliveinterval": ("0", "15")}
_LONGEST_LINE, _LAST_WORDS = 8 << 20, 1 << 16  # bytes that are read of what a board says
_running: set[subprocess.Popen[bytes]] = set()
Sender = Callable[[IO[bytes], Sequence[int]], None]


def destination(entry: Entry) -> list[str]:
    """The words of ssh that lead to a board; a command for its shell follows.

    Raises MissingPackageError where there is no ssh, UnreachableError where its configuration is bad.
    """
    words = [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
    words += ["-p", str(entry.port)] if entry.port else []
    words += ["-l", entry.user] if entry.user else []
    try:
        asked = subprocess.run(
            ["ssh", "-G", *words, "--", entry.host],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise MissingPackageError(
            f"ssh cannot be started ({error.strerror}): `apt install openssh-client`"
        ) from error
    if asked.returncode:
        raise ssh_failure(entry.name, (asked.stderr.strip().splitlines() or [""])[-1], False)
    settings = dict(line.split(" ", 1) for line in asked.stdout.splitlines() if " " in line)
    for name, (unset, taken) in _UNLESS_SET.items():
        if settings.get(name) == unset:
            words += ["-o", f"{name}={taken}"]
    return ["ssh", "-T", *words, "--", entry.host]


def remote_command(python: str, arguments: Sequence[str]) -> str:
    """What a board's login shell is to run: a Python, from the home folder, whose modules do not hide
    those of Python. A shell stays before it, which tells of a signal as ssh does not."""
    script = f"PYTHONSAFEPATH=1 {python} {shlex.join(arguments)}; exit $?"
    return f"exec /bin/sh -c {shlex.quote(script)}"


@contextlib.contextmanager
def asked(
    entry: Entry, python: str, request: Mapping[str, Any], send: Sender | None = None
) -> Iterator[Call]:
    """Has `tfedge.boards.agent` answer a request; the connection ends with the block.

    Args:
        python: the command of a Python there.
        send: writes the files that are asked for, by their numbers, where the request has `files`.

    Raises:
        BoardError: of the kind that it is.
    """
    source = resources.files("tfedge.boards").joinpath("agent.py").read_bytes()
    boot = remote_command(python, ["-c", agent.BOOT, str(len(source))])
    with tempfile.TemporaryFile() as errors, _started(entry, boot, errors) as process:
        assert process.stdin is not None and process.stdout is not None
        call = Call(entry, python, process, errors)
        with contextlib.suppress(BrokenPipeError):  # it is told by what is read then
            process.stdin.write(source + json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        call.read()
        if send is not None and "missing" in call.answer:
            missing = places_in(call.answer, "missing", len(request["files"]))
            with contextlib.suppress(BrokenPipeError):
                send(process.stdin, missing)
                process.stdin.flush()
            call.read()
        yield call


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended: its exit code, what it printed, and its last line on standard error."""

    code: int
    printed: bytes
    last: str


def completed(command: Sequence[str], given: bytes = b"") -> Done:
    """Runs a command of `destination` to its end."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        _running.add(process)
        try:
            printed, errors = process.communicate(given)
        finally:
            _running.discard(process)
            process.kill()
    said = errors.decode(errors="replace").strip().splitlines() or [""]
    return Done(process.returncode, printed, said[-1])


def end_all() -> None:
    """Ends all connections of this process, of its other threads too."""
    for process in list(_running):
        process.kill()


@contextlib.contextmanager
def _started(entry: Entry, command: str, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*destination(entry), command], stdin=pipe, stdout=pipe, stderr=errors
    )
    _running.add(process)
    try:
        yield process
    finally:
        _running.discard(process)
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # which ends what runs there
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class Call:
    """A connection to an agent at work; `answer` is what it said last."""

    def __init__(
        self, entry: Entry, python: str, process: subprocess.Popen[bytes], errors: IO[bytes]
    ) -> None:
        self._entry, self._python = entry, python
        self._process, self._errors = process, errors
        self._printed = b""
        self._was_reached = False
        self.answer = Answer(entry.name, {})

    def read(self) -> None:
        """Takes the agent's next line for its answer; raises what it tells of, or what became of it."""
        stream = self._process.stdout
        assert stream is not None
        for line in iter(lambda: stream.readline(_LONGEST_LINE), b""):
            if not line.startswith(agent.MARK.encode()):
                self._printed = self._printed or line
                continue
            self._was_reached = True
            self.answer = read_answer(self._entry.name, line.removeprefix(agent.MARK.encode()))
            if "error" in self.answer:
                raise self._refused(self.answer)
            return
        raise self._ended()

    def _refused(self, answer: Mapping[str, Any]) -> BoardError:
        name, said = self._entry.name, answer["message"]
        if answer["error"] == agent.FULL:
            return BoardFullError(f"{name}: {said}; free some room there, `df -h ~` shows it")
        return BoardError(f"{name}: {said}")

    def _ended(self) -> TfedgeError:
        """Why there is no further line."""
        name, code = self._entry.name, self._process.wait()
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _LAST_WORDS))
        said = self._errors.read().decode(errors="replace").strip().splitlines() or [""]
        if code == SSH_FAILED or code < 0:
            return ssh_failure(name, said[-1], self._was_reached)
        if self._was_reached:
            return BoardError(f"{name}: its Python ended with exit code {code}: {said[-1]}")
        if self._entry.is_own and self._python == agent.PYTHON and not self._printed:
            return lacking(name, "environment")
        if told := shell_failure(name, self._python, code, said[-1]):
            return told
        printed = self._printed.decode(errors="replace").strip()[:40]
        what = said[-1] or f"it printed {printed!r}"
        return BoardPythonError(f"{name}: {self._python!r} is no Python for tfedge: {what}")
