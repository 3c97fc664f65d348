"""Has systemd listen on a socket for models: `python -m tfedge.runtime.units`, for the host.

Standard input is a JSON object: `name` of the socket, and `units`, the text of each file by its name;
without any, those of that name are taken away. Standard output is one, too: whether anything was
`changed`, the `folder` of sockets, and a `note` of what is left to be done by hand, or null.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfedge.runtime.errors import BackendError, InferenceError
from tfedge.runtime.kept import drop_relative_places


def serve(name: str, units: Mapping[str, str], folder: Path, manager: Sequence[str]) -> bool:
    """Makes the units of one name those that are given, and has their socket listen.

    Args:
        folder: of the units that the manager reads.
        manager: the command of systemctl, of the system or of a user.

    Returns:
        Whether anything was another way before.

    Raises:
        BackendError: there is no systemd, or it refuses.
    """
    present = {
        path.name: path.read_text(encoding="utf-8")
        for pattern in (f"{name}.socket", f"{name}@.service")
        for path in folder.glob(pattern)
    }
    changed = present != units
    if changed and f"{name}.socket" in present:
        _run([*manager, "disable", "--now", f"{name}.socket"])
    _put(folder, present, units)
    try:
        if changed or units:  # a former try may have ended before this
            _run([*manager, "daemon-reload"])
        if units:
            _run([*manager, "enable", "--now", f"{name}.socket"])
    except BackendError:
        _put(folder, units, present)
        raise
    return changed


def _put(folder: Path, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Has the new units in a folder in place of the old ones."""
    for file in old.keys() - new.keys():
        (folder / file).unlink()
    for file, text in new.items():
        if old.get(file) != text:
            _write(folder / file, text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise BackendError(
            f"{command[0]} cannot be started ({error.strerror}): a service needs systemd"
        ) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise BackendError(f"`{' '.join(command)}` fails: {said[-1]}")


def _linger() -> str | None:
    """Has a user's services run without a login; what is left to be done where that may not be."""
    try:
        _run(["loginctl", "enable-linger"])
    except BackendError:
        return "`sudo loginctl enable-linger $USER` there keeps it running when nobody is logged in"
    return None


def main() -> int:
    """The program; returns its exit code, those of `tfedge-infer`."""
    request: dict[str, Any] = json.load(sys.stdin)
    drop_relative_places()
    user = os.geteuid()
    folder, manager, sockets = Path("/etc/systemd/system"), ["systemctl"], "/run"
    if user != 0:
        sockets = os.environ.setdefault("XDG_RUNTIME_DIR", f"/run/user/{user}")
        folder, manager = Path.home() / ".config/systemd/user", ["systemctl", "--user"]
    try:
        changed = serve(request["name"], request["units"], folder, manager)
        note = _linger() if user != 0 and request["units"] else None
    except InferenceError as error:
        print(f"tfedge: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps({"changed": changed, "folder": sockets, "note": note}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
