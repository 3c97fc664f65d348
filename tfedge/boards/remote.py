"""A board that is reached by ssh: what is there, files for it, and programs that run there."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tfedge
from tfedge import files
from tfedge.boards import agent, ssh
from tfedge.boards.book import Entry, find_board
from tfedge.boards.errors import (
    SSH_FAILED,
    BoardError,
    BoardVersionError,
    lacking,
    shell_failure,
    ssh_failure,
)
from tfedge.errors import InputError, MissingPackageError, TfedgeError, board_errors
from tfedge.progress import MakeBar
from tfedge.runtime.bundle import read_bundle

_MEGABYTE = 1 << 20
_GREETING = 1000  # lines that a login shell may print before a program does


@dataclasses.dataclass(frozen=True)
class Remote:
    """A board at the other end of ssh; what asks it raises a `BoardError` of what went wrong."""

    entry: Entry
    make_bar: MakeBar

    @classmethod
    def named(cls, name: str | None, make_bar: MakeBar) -> Remote | None:
        """The board that the user calls so; none without a name. Raises InputError where it is none."""
        return None if name is None else cls(find_board(name), make_bar)

    @property
    def name(self) -> str:
        """As the user calls it."""
        return self.entry.name

    @functools.cached_property
    def facts(self) -> Mapping[str, Any]:
        """What its agent says of it; see `tfedge.boards.agent`."""
        with self._asked({"verb": "hello"}) as call:
            return call.answer

    def check(self, runtime: str | None = None) -> None:
        """Raises BoardVersionError where it has not this tfedge, MissingPackageError where it lacks a
        runtime."""
        found = self.facts
        if found["tfedge"] is None:
            raise lacking(self.name, found["program"])
        if found["tfedge"] != agent.digest(Path(tfedge.__file__).parent):
            raise BoardVersionError(
                f"{self.name}: its tfedge is another one than here; `tfedge board setup {self.name}` "
                "brings this one"
            )
        if runtime is not None and runtime not in found["runtimes"]:
            has = " and ".join(found["runtimes"]) or "none"
            raise MissingPackageError(
                f"{self.name} has not {runtime}, but {has}: `tfedge board setup {self.name} --runtime "
                f"{runtime}` brings it"
            )

    def chosen(self, runtime: str | None, allowed: Sequence[str]) -> str:
        """The runtime that answers there: the one that is asked for, the board's own, or the first that
        is `allowed` and there; raises as `check`."""
        runtime = runtime or self.entry.runtime
        if runtime is None:
            there = [name for name in allowed if name in self.facts["runtimes"]]
            runtime = next(iter([*there, *allowed]), None)
        if runtime is None:
            raise InputError("the model was verified on no runtime; convert it again")
        self.check(runtime)
        return runtime

    def command(self, *arguments: str) -> list[str]:
        """What starts its Python with these arguments, from here."""
        return [*_destination(self.entry), ssh.remote_command(self.entry.python, arguments)]

    @contextlib.contextmanager
    def holding(self, paths: Sequence[Path]) -> Iterator[list[str]]:
        """Has files of this machine there while the block runs, and gives their paths there.

        Raises InputError where one cannot be read.
        """
        request = {"verb": "hold", "files": list(map(described, paths))}
        with self._asked(request, paths) as call:
            found: list[str] = call.answer["paths"]
            if len(found) != len(paths):
                raise BoardError(
                    f"{self.name}: it has {len(found)} of {len(paths)} files that were sent"
                )
            yield found

    def push(self, paths: Sequence[Path]) -> list[dict[str, Any]]:
        """Keeps models there by their names; gives all that are there, as `models` does."""
        request = {"verb": "name", "files": list(map(described, paths))}
        with self._asked(request, paths) as call:
            return list(call.answer["models"])

    def models(self) -> list[dict[str, Any]]:
        """The models that were pushed: name, size in bytes and SHA-256 of each."""
        with self._asked({"verb": "list"}) as call:
            return list(call.answer["models"])

    def remove(self, names: Sequence[str]) -> list[str]:
        """Takes models away; gives the names of those that were there."""
        with self._asked({"verb": "remove", "names": list(names)}) as call:
            return list(call.answer["removed"])

    def install(self, key: str, wheels: Sequence[Path], system_packages: bool) -> bool:
        """Makes an environment there of wheels, pip's among them, for `tfedge.boards.agent.PYTHON`.

        Args:
            key: names it; where it is there already, nothing is done.
            system_packages: whether it also has what is installed in the system.

        Returns:
            Whether anything was done.
        """
        request = {"verb": "install", "key": key, "system_packages": system_packages}
        with self._asked({**request, "files": list(map(described, wheels))}, wheels) as call:
            if "installed" not in call.answer:  # the wheels are there
                with self.make_bar(f"installing on {self.name}", 1) as bar:
                    call.read()
                    bar.advance()
            return bool(call.answer["installed"])

    def json_of(self, *arguments: str, given: Any = None) -> dict[str, Any]:
        """What its Python prints with these arguments, a JSON object, `given` one on standard input;
        raises BoardError where it prints none."""
        given_there = json.dumps(given).encode()
        done = ssh.completed(self.name, self.command(*arguments), given_there, _GREETING)
        if done.code and (told := self.failure(done.code, done.last)):
            raise told
        try:
            found = json.loads(b"".join(done.lines[-1:]))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise BoardError(f"{self.name}: {done.last or f'{arguments[1]} printed nothing'}")
        return found

    def failure(self, code: int, last: str) -> TfedgeError | None:
        """What to raise for a `command` that ended with an exit code and a last line on standard error;
        None where it is the program's own."""
        if code == SSH_FAILED or code < 0:
            return ssh_failure(self.name, last, was_reached=True)
        return shell_failure(self.name, self.entry.python, code, last)

    def _asked(
        self, request: Mapping[str, Any], paths: Sequence[Path] = ()
    ) -> contextlib.AbstractContextManager[ssh.Call]:
        send = Sending(self.name, paths, self.make_bar)
        return ssh.asked(self.entry, self.entry.python, request, send)


@dataclasses.dataclass(frozen=True)
class Sending:
    """Sends files to an agent."""

    board: str
    paths: Sequence[Path]
    make_bar: MakeBar

    def __call__(self, write: Callable[[bytes], None], missing: Sequence[int]) -> None:
        if not missing:
            return
        wanted = [self.paths[number] for number in missing]
        size = sum(path.stat().st_size for path in wanted)
        what = wanted[0].name if len(wanted) == 1 else f"{len(wanted)} files"
        total, sent = -(-size // _MEGABYTE), 0
        with self.make_bar(f"sending {what} to {self.board}, in MB", total) as bar:
            for path in wanted:
                with open(path, "rb") as file:
                    while chunk := file.read(agent.CHUNK):
                        write(chunk)
                        sent += len(chunk)
                        bar.update(sent // _MEGABYTE)


def check_models(paths: Sequence[Path]) -> None:
    """Raises InputError where one is no model that `tfedge convert` made, or two have one name."""
    names = [path.name for path in paths]
    for path, name in zip(paths, names, strict=True):
        if name.startswith("."):
            raise InputError(
                f"{path}: a board keeps no model whose name begins with a dot; rename the file"
            )
        with board_errors():
            read_bundle(path)
        if names.count(name) > 1:
            raise InputError(f"two files are called {name}; a board keeps models by their names")


def described(path: Path) -> dict[str, Any]:
    """A file as an agent is told of it; raises InputError where it cannot be read."""
    files.check_regular(path)
    try:
        size = os.stat(path).st_size
        return {"name": path.name, "size": size, "sha256": files.sha256(path)}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


@functools.cache
def _destination(entry: Entry) -> list[str]:
    return ssh.destination(entry)
