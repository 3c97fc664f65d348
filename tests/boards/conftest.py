"""Boards on loopback."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import server
from bars import Bars
from once import Once

from tfedge.boards.book import find_board
from tfedge.boards.remote import Remote


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """An sshd with boards."""
    if server.LACKING:
        pytest.skip(f"there is no {', '.join(server.LACKING)}: apt install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    with server.serving(
        folder, ["shed", "attic", "cellar", "raspberrypi", "raspberrypi-attic"]
    ) as running:
        yield running


def _empty(home: Path) -> None:
    """Of what the test before has cut off, the agent may be clearing up yet."""
    end = time.monotonic() + 20
    while home.exists():
        try:
            shutil.rmtree(home)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    home.mkdir()


@pytest.fixture
def boards(
    sshd: server.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[server.Server]:
    """The same with empty home folders, and an empty book of boards."""
    for home in sshd.homes.values():
        _empty(home)
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield sshd
    sshd.cut()


@pytest.fixture(scope="session")
def environment(once: Once) -> Path:
    """A Python with the base install."""
    return once.folder("environment of a board", server.write_environment)


@pytest.fixture
def offline(once: Once, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which pip finds all that it finds."""
    folder = once.folder("wheels of a board", server.write_wheels)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def ready(boards: server.Server, environment: Path) -> server.Server:
    """Boards with that Python."""
    for home in boards.homes.values():
        server.give_environment(home, environment)
    return boards


@pytest.fixture
def remote() -> Callable[[str], Remote]:
    return lambda name: Remote(find_board(name), Bars())
