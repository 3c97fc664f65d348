"""What goes wrong between this machine and a board, each kind with an exit code of its own."""

from __future__ import annotations

import re

from tfedge.boards.agent import PYTHON
from tfedge.errors import TfedgeError

_ANOTHER = (
    "give the command of another (--python, or python in boards.toml), or none: `tfedge board setup` "
    "makes an environment of its own"
)


class BoardError(TfedgeError):
    """Something else went wrong on a board, or on the way to it."""


class UnknownHostError(BoardError):
    """No machine has that name."""

    exit_code = 11


class UnreachableError(BoardError):
    """The machine refuses connections, or nothing answers."""

    exit_code = 12


class AccessError(BoardError):
    """The machine takes none of the keys."""

    exit_code = 13


class HostKeyError(BoardError):
    """The machine's own key is not known here, or is not the one that was."""

    exit_code = 14


class BoardPythonError(BoardError):
    """There is no such Python on the board, or one that is too old."""

    exit_code = 15


class BoardVersionError(BoardError):
    """The board's Python has no tfedge, or another one than this."""

    exit_code = 16


class ConnectionLostError(BoardError):
    """The connection broke; what was begun on the board is taken away there."""

    exit_code = 17


class BoardFullError(BoardError):
    """There is no room on the board for what was to be written."""

    exit_code = 18


class BoardSilentError(BoardError):
    """There is a connection, and nothing has come of it for longer than anything takes."""

    exit_code = 19


SSH_FAILED = 255  # the exit code of ssh where it is not the one of what ran there
_NOT_FOUND = (126, 127)  # of a shell that cannot start a program
# What OpenSSH says last -> what that is, and what to do.
_SAID: tuple[tuple[str, type[BoardError], str], ...] = (
    ("Could not resolve hostname", UnknownHostError, "check the name, or give its address"),
    (
        "Connection refused|No route to host|Network is unreachable|connect to host .* timed out",
        UnreachableError,
        "check that it is switched on and runs sshd, and the port",
    ),
    (
        "Permission denied|Too many authentication failures|No supported authentication",
        AccessError,
        "let it know your key: ssh-copy-id; passwords are not asked for",
    ),
    (
        "Host key verification failed",
        HostKeyError,
        "log in once by ssh and look at its key, or mend ~/.ssh/known_hosts",
    ),
)


# What it says only of a connection that there was, whether something had answered or not.
_BROKE = re.compile(
    r"^Connection to \S+ closed by remote host|^client_loop: |^Timeout, server |^Read from remote host"
)


def is_of_ssh(said: str) -> bool:
    """Whether it is ssh that says this last."""
    known = "|".join(pattern for pattern, _, _ in _SAID)
    return (
        re.search(rf"^(ssh|kex_\w+|client_loop): |^Connection (to|closed|reset)|{known}", said)
        is not None
    )


def ssh_failure(board: str, said: str, was_reached: bool) -> BoardError:
    """What ended ssh itself.

    Args:
        board: how the user calls it.
        said: its last line on standard error, which may be empty.
        was_reached: whether something on the board had answered before.
    """
    for pattern, kind, mend in _SAID:
        if re.search(pattern, said):
            return kind(f"{board}: {said.removeprefix('ssh: ').rstrip('.')}; {mend}")
    if not was_reached and _BROKE.search(said) is None:
        return UnreachableError(
            f"{board}: ssh does not reach it: {said or 'it said nothing'}; try `ssh -v`"
        )
    return ConnectionLostError(
        f"{board}: the connection broke{f' ({said})' if said else ''}; the same command starts again"
    )


def shell_failure(board: str, python: str | None, code: int, said: str) -> BoardError | None:
    """What kept a board's Python from running a program, None where the exit code and the last line on
    standard error tell of something else; `python` is its command, None where the user typed it."""
    if code in _NOT_FOUND:
        named, mend = "such Python", "give another command"
        if python is not None:
            named = f"Python {python!r}"
            mend = "`tfedge board setup` makes one" if python == PYTHON else _ANOTHER
        return BoardPythonError(f"{board}: there is no {named} that starts ({said}); {mend}")
    if "No module named" in said and "tfedge" in said:
        return lacking(board, python or "Python")
    return None


def silent(board: str, seconds: float) -> BoardSilentError:
    """That nothing has come from a board for so long, to which there is a connection."""
    return BoardSilentError(
        f"{board}: it takes the connection, but has said nothing for {seconds:.0f} s; look what its "
        "login shell or its Python waits for, or start it anew"
    )


def unasked(board: str, line: bytes) -> BoardError:
    """That a board prints more than it was asked for, this among others."""
    return BoardError(
        f"{board}: it prints more than was asked for ({line[:40]!r}); look at what is started there "
        "(python in boards.toml, start-up files of its shell)"
    )


def lacking(board: str, python: str) -> BoardVersionError:
    """That a board's Python has no tfedge."""
    return BoardVersionError(f"{board}: its {python} has no tfedge; `tfedge board setup` brings it")
