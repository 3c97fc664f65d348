"""Answers of models that were pushed to a board."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfedge.boards import ssh
from tfedge.boards.agent import MODELS
from tfedge.boards.answer import read_answer
from tfedge.boards.errors import BoardError
from tfedge.boards.remote import Remote
from tfedge.errors import InputError, MissingPackageError, RejectedModelError, TfedgeError
from tfedge.runtime.runtimes import RUNTIMES

_SOME_UNANSWERED = 1  # exit codes of tfedge-infer
_UNUSABLE, _LACKING, _SIGNAL = 3, 4, 128
_LONGEST_INPUT = 16 << 20  # bytes; 200,000 sentences


def read_stdin() -> list[str]:
    """The lines of standard input, without their ends; raises InputError where that is too much, for
    each board is given all of it, or no UTF-8."""
    content = sys.stdin.buffer.read(_LONGEST_INPUT + 1)
    if len(content) > _LONGEST_INPUT:
        raise InputError(
            f"standard input has more than {_LONGEST_INPUT:,} bytes; give it in parts, or let "
            "`tfedge-infer` read it on the board"
        )
    try:
        return content.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"line {line} of standard input is no UTF-8; recode it") from error


def check_name(name: str) -> None:
    """Raises InputError for a path: a model on a board goes by its name."""
    if "/" in name or name.startswith("."):
        raise InputError(
            f"{name!r} is no name of a model on a board, as `tfedge board list` tells them; give the "
            f"name alone: {shlex.quote(Path(name).name.lstrip('.') or 'X.tflite')}"
        )


def answers(remote: Remote, name: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    """What `tfedge-infer --json` answers on a board to texts.

    Args:
        name: of a model that was pushed.

    Raises:
        InputError: there is no such model, or it cannot be used.
        MissingPackageError: it needs a runtime that is not there.
        BoardError: the board cannot be reached, or has no tfedge.
    """
    check_name(name)
    runtime = remote.entry.runtime
    remote.check(runtime)
    there = [row["name"] for row in remote.models()]
    if name not in there:
        has = f"has {', '.join(there)}" if there else "has none"
        raise InputError(
            f"{remote.name} has no model {name!r}, but {has}; `tfedge board push {shlex.quote(name)} "
            f"--board {shlex.quote(remote.name)}` brings it"
        )
    words = ["-m", "tfedge.runtime.infer", "--model", f"{MODELS}/{name}", "--json", "--jsonl"]
    words += ["--runtime", runtime] if runtime else []
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = ssh.completed(remote.name, remote.command(*words), lines.encode(), most=len(texts))
    if done.code not in (0, _SOME_UNANSWERED):
        if done.code == _LACKING:
            for package in (one for one in RUNTIMES if RUNTIMES[one].package in done.last):
                remote.check(package)  # which says how a board gets it
        raise remote.failure(done.code, done.last) or _refusal(remote.name, name, done)
    return [read_answer(remote.name, line) for line in done.lines]


def _refusal(board: str, name: str, done: ssh.Done) -> TfedgeError:
    """What the program itself says of its end."""
    if done.code > _SIGNAL:
        return RejectedModelError(f"{board}: {name} crashes there (signal {done.code - _SIGNAL})")
    kinds: dict[int, type[TfedgeError]] = {_UNUSABLE: InputError, _LACKING: MissingPackageError}
    kind = kinds.get(done.code, BoardError)
    return kind(f"{board}: {done.last or f'it ended with exit code {done.code}'}")
