"""The system's ssh, with its own configuration and keys: one connection each to a board's Python."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import subprocess
import threading
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
    silent,
    ssh_failure,
    unasked,
)
from tfedge.boards.hearing import LastWords, Patience
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
# Bytes that are read of what a board says, and of what its login shell prints before it does.
_LONGEST_LINE, _LONGEST_GREETING = 8 << 20, 1 << 18
# Seconds for an answer of the agent, also of a slow card that a large file is written to, for an
# environment that it makes, and for a line of any other program, as a block of 50 texts is.
ANSWER_S, INSTALL_S, LINE_S = 120.0, 1800.0, 900.0
_running: set[subprocess.Popen[bytes]] = set()
Sender = Callable[[Callable[[bytes], None], Sequence[int]], None]


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
    seconds = INSTALL_S if request["verb"] == "install" else ANSWER_S
    with _started([*destination(entry), boot]) as process:
        call = Call(entry, python, process, seconds)
        with contextlib.suppress(BrokenPipeError):  # it is told by what is read then
            call.write(source + json.dumps(request).encode() + b"\n")
        call.read()
        if send is not None and "missing" in call.answer:
            missing = places_in(call.answer, "missing", len(request["files"]))
            with contextlib.suppress(BrokenPipeError):
                send(call.write, missing)
            call.read()
        yield call


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended: its exit code, the lines it printed, and its last one on standard error."""

    code: int
    lines: list[bytes]
    last: str


def completed(board: str, command: Sequence[str], given: bytes, most: int) -> Done:
    """Runs a command of `destination` to its end.

    Args:
        board: how the user calls it.
        given: what it reads from standard input.
        most: lines that it has to print.

    Raises:
        BoardSilentError: for `LINE_S` nothing came of it.
        BoardError: it prints more, or a line without end.
    """
    with _started(command) as process:
        last, patience = LastWords(_not_none(process.stderr)), Patience(process)
        threading.Thread(target=_give, args=(process, given), daemon=True).start()
        lines: list[bytes] = []
        while line := _line(process, patience):
            lines.append(line)
            if len(lines) > most or (len(line) == _LONGEST_LINE and not line.endswith(b"\n")):
                raise unasked(board, line)
        with patience.within(LINE_S):
            code = process.wait()
        if patience.is_over:
            raise silent(board, LINE_S)
        return Done(code, lines, last.line)


def _line(process: subprocess.Popen[bytes], patience: Patience) -> bytes:
    with patience.within(LINE_S):
        return _not_none(process.stdout).readline(_LONGEST_LINE)


def _give(process: subprocess.Popen[bytes], given: bytes) -> None:
    """It may answer before it has read all, so this has a thread; it ends with the process."""
    stdin = _not_none(process.stdin)
    with contextlib.suppress(BrokenPipeError, ValueError):  # the latter where it has been closed
        stdin.write(given)
        stdin.close()


def _not_none(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def end_all() -> None:
    """Ends all connections of this process, of its other threads too."""
    for process in list(_running):
        process.kill()


@contextlib.contextmanager
def _started(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    _running.add(process)
    try:
        yield process
    finally:
        _running.discard(process)
        patience = Patience(process)
        with patience.within(5):  # of what it does not read, something may be left to be written
            with contextlib.suppress(BrokenPipeError):
                _not_none(process.stdin).close()  # which ends what runs there
            process.wait()
        _not_none(process.stdout).close()


class Call:
    """A connection to an agent at work; `answer` is what it said last."""

    def __init__(
        self, entry: Entry, python: str, process: subprocess.Popen[bytes], seconds: float
    ) -> None:
        self._entry, self._python, self._seconds = entry, python, seconds
        self._stdin, self._stdout = _not_none(process.stdin), _not_none(process.stdout)
        self._process, self._patience = process, Patience(process)
        self._last = LastWords(_not_none(process.stderr))
        self._printed = b""
        self._was_reached = False
        self.answer = Answer(entry.name, {})

    def write(self, content: bytes) -> None:
        """Gives it something in its time; raises BrokenPipeError where it is gone, of which `read`
        tells."""
        with self._patience.within(self._seconds):
            self._stdin.write(content)
            self._stdin.flush()

    def read(self) -> None:
        """Takes the agent's next line for its answer; raises what it tells of, or what became of it."""
        with self._patience.within(self._seconds):
            line, heard = self._stdout.readline(_LONGEST_LINE), 0
            while line and not line.startswith(agent.MARK.encode()):
                self._printed, heard = self._printed or line, heard + len(line)
                if heard > _LONGEST_GREETING:
                    raise unasked(self._entry.name, self._printed)
                line = self._stdout.readline(_LONGEST_LINE)
        if self._patience.is_over:
            raise silent(self._entry.name, self._seconds)
        if not line:
            raise self._ended()
        self._was_reached = True
        self.answer = read_answer(self._entry.name, line.removeprefix(agent.MARK.encode()))
        if "error" in self.answer:
            raise self._refused(self.answer)

    def _refused(self, answer: Mapping[str, Any]) -> BoardError:
        name, said = self._entry.name, answer["message"]
        if answer["error"] == agent.FULL:
            return BoardFullError(f"{name}: {said}; free some room there, `df -h ~` shows it")
        return BoardError(f"{name}: {said}")

    def _ended(self) -> TfedgeError:
        """Why there is no further line."""
        name = self._entry.name
        with self._patience.within(self._seconds):
            code = self._process.wait()
        if self._patience.is_over:
            return silent(name, self._seconds)
        said = self._last.line
        if code == SSH_FAILED or code < 0:
            return ssh_failure(name, said, self._was_reached)
        if self._was_reached:
            return BoardError(f"{name}: its Python ended with exit code {code}: {said}")
        if self._entry.is_own and self._python == agent.PYTHON and not self._printed:
            return lacking(name, "environment")
        if told := shell_failure(name, self._python, code, said):
            return told
        printed = self._printed.decode(errors="replace").strip()[:40]
        what = said or f"it printed {printed!r}"
        return BoardPythonError(f"{name}: {self._python!r} is no Python for tfedge: {what}")
