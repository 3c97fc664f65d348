"""Where things are remembered: never below the folder in which a program happens to be started."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from tfedge import files
from tfedge.boards.book import book_path
from tfedge.errors import InputError
from tfedge.runtime import kept

NAMES = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
RELATIVE = ("", "here", "./here", "../here", "~/here")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, without any of `NAMES`."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("value", RELATIVE)
@pytest.mark.parametrize("names", [NAMES[:1], NAMES[1:], NAMES])
def test_relative_paths_are_none(
    names: tuple[str, ...], value: str, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in names:
        monkeypatch.setenv(name, value)
    kept.keep("tried", "a")
    assert not kept.is_kept("tried", "a")
    assert not [*empty.iterdir()]
    own = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert book_path() == own / ".config/tfedge/boards.toml"
    assert files.user_folder("XDG_CACHE_HOME", ".cache") == own / ".cache"
    kept.drop_relative_places()
    assert not {*NAMES} & {*os.environ}


def test_absolute_ones_count(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(empty / "home"))
    assert book_path() == empty / "home/.config/tfedge/boards.toml"
    kept.keep("tried", "a")
    assert (empty / "home/.cache/tfedge/tried/a").is_file()
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert kept.is_kept("tried", "a")
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty / "cache"))
    assert not kept.is_kept("tried", "a")
    kept.drop_relative_places()
    assert os.environ["XDG_CACHE_HOME"] == str(empty / "cache")


def test_no_home_at_all(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a user whom a container does not know."""

    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(InputError, match=r"no home folder.* set HOME or XDG_CONFIG_HOME to"):
        book_path()
