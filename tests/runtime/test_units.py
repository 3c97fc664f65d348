"""Units of systemd, with a `systemctl` that writes down what it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfedge.runtime.errors import BackendError
from tfedge.runtime.units import serve

UNITS = {"tfedge-a.socket": "[Socket]\n", "tfedge-a@.service": "[Service]\n"}


class Manager:
    """A systemctl.

    Attributes:
        command: what starts it.
    """

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self._program = folder / "systemctl"
        self.command = [str(self._program), "--user"]
        self.ends()

    def ends(self, code: int = 0, says: str = "") -> None:
        """Has it fail, or end well."""
        script = f"#!/bin/sh\necho \"$*\" >> {self._log}\necho '{says}' >&2\nexit {code}\n"
        self._program.write_text(script)
        self._program.chmod(0o755)

    def asked(self) -> list[str]:
        """What it was asked since the last time."""
        found = self._log.read_text().splitlines() if self._log.exists() else []
        self._log.unlink(missing_ok=True)
        return found


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    return Manager(tmp_path)


def written(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_once_and_again(manager: Manager, tmp_path: Path) -> None:
    folder = tmp_path / "units"
    assert serve("tfedge-a", UNITS, folder, manager.command)
    assert written(folder) == UNITS
    enabled = "--user enable --now tfedge-a.socket"
    assert manager.asked() == ["--user daemon-reload", enabled]
    assert not serve("tfedge-a", UNITS, folder, manager.command)
    assert manager.asked() == ["--user daemon-reload", enabled]


def test_another_takes_the_place(manager: Manager, tmp_path: Path) -> None:
    folder = tmp_path / "units"
    serve("tfedge-a", UNITS, folder, manager.command)
    others = {**UNITS, "tfedge-a.socket": "[Socket]\nAccept=yes\n"}
    serve("tfedge-b", {"tfedge-b.socket": ""}, folder, manager.command)
    manager.asked()
    assert serve("tfedge-a", others, folder, manager.command)
    assert written(folder) == {**others, "tfedge-b.socket": ""}
    assert manager.asked() == [
        "--user disable --now tfedge-a.socket",
        "--user daemon-reload",
        "--user enable --now tfedge-a.socket",
    ]


def test_away(manager: Manager, tmp_path: Path) -> None:
    folder = tmp_path / "units"
    serve("tfedge-a", UNITS, folder, manager.command)
    assert serve("tfedge-a", {}, folder, manager.command)
    assert written(folder) == {}
    assert not serve("tfedge-a", {}, folder, manager.command)
    assert manager.asked()[-2:] == ["--user disable --now tfedge-a.socket", "--user daemon-reload"]


def test_what_systemd_refuses(manager: Manager, tmp_path: Path) -> None:
    """Nothing stays of it, and the next try ends well."""
    manager.ends(1, "Failed to connect to bus")
    with pytest.raises(BackendError, match=r"systemctl --user daemon-reload` fails: Failed to con"):
        serve("tfedge-a", UNITS, tmp_path / "units", manager.command)
    assert written(tmp_path / "units") == {}
    manager.ends()
    manager.asked()
    serve("tfedge-a", UNITS, tmp_path / "units", manager.command)
    assert manager.asked() == ["--user daemon-reload", "--user enable --now tfedge-a.socket"]


def test_no_systemd(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"cannot be started .*: a service needs systemd"):
        serve("tfedge-a", UNITS, tmp_path / "units", [str(tmp_path / "none")])
