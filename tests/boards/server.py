"""A real sshd on loopback, of its own keys, port and configuration; folders are its boards."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import importlib.metadata
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import venv
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from tfedge.boards.agent import FOLDER
from tfedge.boards.wheels import write_wheel

ROOT = Path(__file__).parents[2]
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
SSH, KEYGEN = shutil.which("ssh"), shutil.which("ssh-keygen")
LACKING = [
    name for name, path in (("sshd", SSHD), ("ssh", SSH), ("ssh-keygen", KEYGEN)) if not path
]

# The home folder is that of the board, whose port the connection came to. `limit` there is what no file
# may be larger than, in blocks of 512 bytes; `greeting` is printed, as start-up files of shells do.
_SHELL = """#!/bin/sh
set -- $SSH_CONNECTION
HOME="{homes}/board $4"; export HOME; cd "$HOME" || exit 70
unset PYTHONPATH
[ -f limit ] && ulimit -f "$(cat limit)"
[ -f greeting ] && cat greeting
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""
_SERVER = """{ports}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/user.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
MaxStartups 100
ForceCommand {folder}/shell
"""
_CLIENT = """Host {names}
  HostName 127.0.0.1
  IdentityFile "{folder}/user"
  IdentitiesOnly yes
  UserKnownHostsFile "{folder}/known_hosts"
  User {user}
{hosts}
Host stranger
  HostName 127.0.0.1
  Port {port}
  IdentityFile "{folder}/stranger"
  IdentitiesOnly yes
  UserKnownHostsFile "{folder}/known_hosts"
Host unknown-key
  HostName 127.0.0.1
  Port {port}
  UserKnownHostsFile /dev/null
Host nobody-listens
  HostName 127.0.0.1
  Port {closed}
"""


@dataclasses.dataclass(frozen=True)
class Server:
    """One that runs.

    Attributes:
        homes: the home folder of each board, by the name that ssh knows.
        bin: a folder with the `ssh` that knows them, for PATH.
        process: of sshd.
    """

    homes: dict[str, Path]
    bin: Path
    process: subprocess.Popen[bytes]

    def connections(self) -> list[int]:
        """The processes that serve one connection each."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children]

    def cut(self) -> None:
        """Kills all connections, as a pulled plug does."""
        for pid in self.connections():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _key(path: Path) -> str:
    subprocess.run([KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


@contextlib.contextmanager
def serving(folder: Path, names: list[str]) -> Iterator[Server]:
    """Boards of these names, each with an empty home folder."""
    *ports, closed = _ports(len(names) + 1)
    host, _, _ = _key(folder / "host"), _key(folder / "user"), _key(folder / "stranger")
    homes = {name: folder / f"board {port}" for name, port in zip(names, ports, strict=True)}
    for home in homes.values():
        home.mkdir()
    known = "".join(f"[127.0.0.1]:{port} {host}" for port in ports)
    (folder / "known_hosts").write_text(known)
    shell = folder / "shell"
    shell.write_text(_SHELL.format(homes=folder))
    shell.chmod(0o755)
    listen = "\n".join(f"Port {port}" for port in ports)
    (folder / "sshd_config").write_text(_SERVER.format(folder=folder, ports=listen))
    hosts = "\n".join(
        f"Host {name}\n  Port {port}" for name, port in zip(names, ports, strict=True)
    )
    (folder / "ssh_config").write_text(
        _CLIENT.format(
            folder=folder,
            names=" ".join(names),
            user=getpass.getuser(),
            hosts=hosts,
            port=ports[0],
            closed=closed,
        )
    )
    (folder / "bin").mkdir()
    client = folder / "bin/ssh"
    client.write_text(f'#!/bin/sh\nexec {SSH} -F "{folder}/ssh_config" "$@"\n')
    client.chmod(0o755)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it gives its rights up
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        _wait(ports, process, folder / "log")
        yield Server(homes, folder / "bin", process)
    finally:
        process.terminate()
        process.wait()


def _wait(ports: list[int], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    for port in ports:
        while True:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


def base_install(name: str = "tfedge") -> list[importlib.metadata.Distribution]:
    """What the base install of tfedge brings here, without tfedge itself."""
    found: dict[str, importlib.metadata.Distribution] = {}
    wanted = [name]
    while wanted:
        for text in importlib.metadata.requires(wanted.pop()) or ():
            one = Requirement(text)
            if one.name not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
                found[one.name] = importlib.metadata.distribution(one.name)
                wanted.append(one.name)
    return list(found.values())


def write_wheels(folder: Path) -> None:
    """Wheels of the base install and of pip, made of what is installed here."""
    for one in [*base_install(), importlib.metadata.distribution("pip")]:
        files = [
            file for file in one.files or () if ".." not in file.parts and file.suffix != ".pyc"
        ]
        content = {str(file): Path(str(one.locate_file(file))).read_bytes() for file in files}
        (record,) = (name for name in content if name.endswith(".dist-info/RECORD"))
        del content[record]
        tag = re.search(r"^Tag: (\S+)$", one.read_text("WHEEL") or "", re.MULTILINE)
        assert tag is not None
        name = re.sub(r"[-_.]+", "_", one.name).lower()
        write_wheel(folder / f"{name}-{one.version}-{tag[1]}.whl", content, record)


def write_environment(folder: Path) -> None:
    """An environment with the base install and nothing else, of links to what is installed here."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    with_images = [*base_install(), importlib.metadata.distribution("pillow")]
    for distribution in with_images:
        for file in distribution.files or ():
            top = packages / file.parts[0]
            if file.parts[0] not in ("..", "__pycache__") and not top.exists():
                top.symlink_to(Path(str(distribution.locate_file(file.parts[0]))).resolve())
    (packages / "tfedge").symlink_to(ROOT / "tfedge")


def give_environment(home: Path, environment: Path) -> None:
    """Has a board an environment where `tfedge board setup` makes it."""
    place = home / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    (place / "env").symlink_to(environment)
