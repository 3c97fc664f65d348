"""A model as a service of a board's systemd: a socket, and behind it a program for each connection.

systemd listens, so that nothing takes memory while nobody asks, and a crash ends one connection, not
the service. A program answers line by line for as long as its connection lasts.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge.boards.agent import MODELS, PYTHON
from tfedge.boards.answer import Answer, read_answer
from tfedge.boards.remote import Remote, check_models
from tfedge.errors import InputError, board_errors
from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.machine import needed_bytes

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_ROOM = 2  # times the memory that a model is thought to need
_CONNECTIONS = 4
_SOCKET = """# Made by `tfedge board setup --service`.
[Unit]
Description=Answers of {model}

[Socket]
ListenStream=%t/tfedge/{name}.sock
SocketMode=0600
RemoveOnStop=yes
Accept=yes
MaxConnections={connections}

[Install]
WantedBy=sockets.target
"""
_SERVICE = """# Made by `tfedge board setup --service`.
[Unit]
Description=Answers of {model} to one connection
CollectMode=inactive-or-failed

[Service]
ExecStart="%h/{python}" -m tfedge.runtime.infer --model "%h/{models}/{model}" --json{options}
StandardInput=socket
StandardOutput=socket
StandardError=journal
MemoryMax={memory}M
TasksMax=32
Environment=PYTHONSAFEPATH=1
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native
UMask=0077
"""


@dataclasses.dataclass(frozen=True)
class Service:
    """What is to be served.

    Attributes:
        name: of the service, `tfedge-NAME` to systemd.
        model: the .tflite here, which is pushed.
        memory_mb: what a connection's program may take; None takes twice what the model is thought to
            need.
    """

    name: str
    model: Path
    memory_mb: int | None = None


@dataclasses.dataclass(frozen=True)
class Served:
    """What came of it."""

    board: str
    name: str
    socket: str  # where it listens there
    changed: bool  # whether anything was; False where all was so already
    note: str | None  # what is left to be done there, by hand


def read_service(text: str, memory_mb: int | None) -> Service:
    """A service of `name=X.tflite`; raises InputError where it is none."""
    name, equals, path = text.partition("=")
    if not equals or not path or _NAME.fullmatch(name) is None:
        raise InputError(
            f"{text!r} is no service; give NAME=X.tflite, the name of small letters, digits and -"
        )
    model = Path(path)
    check_models([model])
    if re.search(r"[\s\"'\\%$]", model.name):
        raise InputError(f"a unit of systemd cannot name {model.name!r}; rename the file")
    return Service(name, model, memory_mb)


def units(service: Service, runtime: str | None) -> dict[str, str]:
    """The units of systemd for a service, by the names of their files."""
    needed = -(-_ROOM * needed_bytes(service.model.stat().st_size) // 10**6)
    values: dict[str, Any] = {
        "name": service.name,
        "model": service.model.name,
        "python": PYTHON,
        "models": MODELS,
        "memory": service.memory_mb or needed,
        "connections": _CONNECTIONS,
        "options": f" --runtime {runtime}" if runtime else "",
    }
    unit = f"tfedge-{service.name}"
    return {
        f"{unit}.socket": _SOCKET.format(**values),
        f"{unit}@.service": _SERVICE.format(**values),
    }


def serve(remote: Remote, service: Service) -> Served:
    """Pushes a model and has a board's systemd serve it; of root the system's, else the user's own.

    Raises:
        InputError: the board's Python is not that of `tfedge board setup`.
        MissingPackageError: it has no runtime that the model runs in; nothing has been done then.
        BoardError: there is no systemd, it refuses the units, or the board cannot be reached.
    """
    if not remote.entry.is_own:
        raise InputError(
            f"{remote.name} has a Python of your own in boards.toml; a service takes that of "
            "`tfedge board setup`: take the line out"
        )
    with board_errors():
        allowed = read_bundle(service.model).manifest.runtimes
    remote.chosen(None, allowed)
    remote.push([service.model])
    made = _ask(remote, service.name, units(service, remote.entry.runtime))
    socket = f"{made['folder']}/tfedge/{service.name}.sock"
    return Served(remote.name, service.name, socket, made["changed"], made["note"])


def take_away(remote: Remote, name: str) -> bool:
    """Ends a service; whether there was one. Raises as `serve`, InputError where that is no name."""
    if _NAME.fullmatch(name) is None:
        raise InputError(f"{name!r} is no name of a service; it has small letters, digits and -")
    return bool(_ask(remote, name, {})["changed"])


def _ask(remote: Remote, name: str, wanted: Mapping[str, str]) -> Answer:
    request = {"name": f"tfedge-{name}", "units": dict(wanted)}
    found = remote.json_of("-m", "tfedge.runtime.units", given=request)
    return read_answer(remote.name, json.dumps(found).encode())
