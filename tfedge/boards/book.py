"""How boards are called: `pi@raspberrypi`, as ssh calls them, or a name in a file of the user's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.boards.agent import PYTHON
from tfedge.errors import InputError
from tfedge.runtime.runtimes import RUNTIMES
from tfedge.settings import check_keys, read_settings

# [user@]host, without what a shell or ssh would take for something else.
_DESTINATION = re.compile(
    r"(?:(?P<user>[^\s@:/'\"-][^\s@:/'\"]*)@)?(?P<host>[^\s@/'\"-][^\s@/'\"]*)"
)
_PORTS = range(1, 65536)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A board and how to get there; what is None is left to ssh's own configuration."""

    name: str  # as the user calls it
    host: str
    user: str | None = None
    port: int | None = None
    # The command that starts a Python with tfedge there, from the home folder; by default that of
    # `tfedge board setup`.
    python: str = PYTHON
    runtime: str | None = None  # the one to run models in; None takes what each allows

    @property
    def is_own(self) -> bool:
        """Whether the Python is the one of `tfedge board setup`."""
        return self.python == PYTHON


def book_path() -> Path:
    """Where the user's boards are, whether there are any or not."""
    return files.user_folder("XDG_CONFIG_HOME", ".config") / "tfedge" / "boards.toml"


def find_board(name: str, book: Mapping[str, Entry] | None = None) -> Entry:
    """The board of that name, in the user's file, else as ssh calls it.

    Args:
        book: what `read_book` finds there, for who looks for several.

    Raises:
        InputError: it is neither, or the file cannot be used.
    """
    book = read_book() if book is None else book
    if name in book:
        return book[name]
    found = _DESTINATION.fullmatch(name)
    if found is None:
        known = f"; boards.toml has {', '.join(book)}" if book else ""
        raise InputError(
            f"{name!r} is no board: give USER@HOST, a host that ssh knows, or a name in "
            f"{book_path()}{known}"
        )
    return Entry(name, found["host"], found["user"])


def read_book() -> dict[str, Entry]:
    """The boards in the user's file, by name; raises InputError where it cannot be used."""
    path = book_path()
    if not path.exists():
        return {}
    settings = read_settings(path)
    return {name: _entry(name, settings[name], path) for name in settings}


def _entry(name: str, content: Any, path: Path) -> Entry:
    where = f"{path}: [{name}]"
    if not isinstance(content, Mapping):
        raise InputError(f'{where} is no table; write [{name}] and below it host = "..."')
    check_keys(content, [field.name for field in dataclasses.fields(Entry)][1:], where)
    for key, value in content.items():
        kind = int if key == "port" else str
        if not isinstance(value, kind) or isinstance(value, bool) or not value:
            raise InputError(f"{where} has {key} = {value!r}; give {_WANTED[key]}")
    if "host" not in content:
        raise InputError(f'{where} lacks host = "...", the name or address of the board')
    user, host = content.get("user"), content["host"]
    found = _DESTINATION.fullmatch(f"{user}@{host}" if user else host)
    if found is None or found["host"] != host or found["user"] != user:
        raise InputError(f"{where} has host = {host!r} and user = {user!r}, which ssh cannot take")
    if content.get("port", 22) not in _PORTS:
        raise InputError(f"{where} has port = {content['port']}; give {_WANTED['port']}")
    if content.get("runtime", "litert") not in RUNTIMES:
        raise InputError(f"{where} has runtime = {content['runtime']!r}; give {_WANTED['runtime']}")
    return Entry(name, **content)


_WANTED = {
    "host": "a name or an address",
    "user": "a name",
    "port": "a number from 1 to 65535",
    "python": "the command of a Python there",
    "runtime": " or ".join(RUNTIMES),
}
