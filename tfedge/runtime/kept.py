"""What is remembered of files that have passed, by hash: empty files in the user's cache."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Of the environment, what must be an absolute path to count.
_PLACES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")


def is_kept(kind: str, key: str) -> bool:
    """Whether `keep` was told this before; not where the cache cannot be read."""
    return os.path.exists(place(kind, key))  # noqa: PTH110  (Path's raises where it may not look)


def keep(kind: str, key: str) -> None:
    """Remembers it; an empty file is whole as soon as it is there. Where none can be written, nothing
    is remembered, and nothing said."""
    path = place(kind, key)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def place(kind: str, key: str) -> Path:
    """The file that stands for it."""
    # Of a service without a home nothing is kept.
    root = user_folder("XDG_CACHE_HOME", ".cache") or Path(os.devnull)
    return root / "tfedge" / kind / key


def user_folder(variable: str, usual: str) -> Path | None:
    """The folder that a variable of the environment names, else the `usual` one in the home folder.

    A relative path counts as none, as the XDG base directory specification has it: what the user keeps
    would else lie wherever a program is started. None where there is no home either.
    """
    if (named := Path(os.environ.get(variable, ""))).is_absolute():
        return named
    home = Path(os.environ.get("HOME", ""))
    return home / usual if home.is_absolute() else None


def drop_relative_places() -> None:
    """Takes relative paths of such places out of the environment, for libraries and programs that keep
    something there too, each in its way."""
    for name in _PLACES:
        if name in os.environ and not Path(os.environ[name]).is_absolute():
            del os.environ[name]
