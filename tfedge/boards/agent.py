"""Keeps files on a board for a host. The host sends this file itself, so that a board needs nothing but
Python 3.9, and starts it with `BOOT`; nothing here imports more than Python has.

Standard input is one line of JSON, a request, and the bytes of files that are asked for. Each line of
standard output that begins with `MARK` is an object of JSON; what a shell prints as it starts is none.
The verbs:

    hello    what Python, system and tfedge there are
    hold     takes files in, those that are not there yet, and keeps them until standard input ends
    name     the same with files that stay, each by its name
    list     the named files
    remove   takes names away
    install  makes an environment of wheels

Everything lies in `FOLDER` below the home folder:

    store/SHA256      the content of each file, once
    models/NAME       a named file: another link to that content
    held/X/N/NAME     what a program at work reads, likewise
    incoming/X        what is still arriving
    envs/KEY          an environment; the link `env` leads to it once it is complete

A file gets its place by renaming or linking once its hash is right, so that none is ever half there.
Who needs something keeps a lock on it, which ends with its process; what no lock and no link holds any
more is taken away by whoever comes next.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

MARK, FOLDER = "tfedge-board ", ".local/share/tfedge"
PYTHON, MODELS = f"{FOLDER}/env/bin/python", f"{FOLDER}/models"
CHUNK = 1 << 18
# What Python runs first; it may be an old one, and its argument is how many bytes of this file follow.
BOOT = (
    "import sys;"
    "v=sys.version_info[:2];"
    "v>=(3,9) or sys.exit('tfedge needs Python 3.9 or later, this is %d.%d'%v);"
    "exec(sys.stdin.buffer.read(int(sys.argv[1])))"
)
# What errors are about, for the host.
FULL, ABSENT, FAILED = "full", "absent", "failed"
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_RUNTIMES = {"tflite-runtime": "tflite_runtime", "litert": "ai_edge_litert"}
_PLATFORM = ("machine", "python_implementation", "release", "system", "version")
_PACKAGES = ("numpy", "yaml")  # that a system may have
File = Mapping[str, Any]  # its name, sha256 and size in bytes


class Refused(Exception):
    """Why a request is not done: what it is about, and a message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Gone(Exception):
    """The host is no longer there."""


def digest(package: str | os.PathLike[str]) -> str:
    """The hexadecimal SHA-256 of what a board runs of tfedge's folder."""
    root = Path(package)
    whole = hashlib.sha256()
    for path in [root / "__init__.py", *sorted(root.glob("runtime/**/*.py"))]:
        whole.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


def _say(**content: Any) -> None:
    print(f"{MARK}{json.dumps(content)}", flush=True)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Alone with `path`, which is made if need be, until the block or this process ends."""
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_free(path: Path) -> bool:
    """Whether nobody has that lock."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return True


class Depot:
    """The folder of tfedge on a board."""

    def __init__(self) -> None:
        if not Path.home().is_absolute():
            del os.environ["HOME"]  # the system knows another one
        self.root = Path.home() / FOLDER
        self.store, self.models = self.root / "store", self.root / "models"
        self.held, self.incoming = self.root / "held", self.root / "incoming"
        self.environments = self.root / "envs"
        for folder in (self.store, self.models, self.held, self.incoming, self.environments):
            folder.mkdir(parents=True, exist_ok=True)
        self.environment, self.installing = self.root / "env", self.root / ".installing"
        with self.alone():
            self._sweep()

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """While names are made and taken away."""
        return _lock(self.root / ".lock")

    def _sweep(self) -> None:
        """Takes away what processes have left that are no more."""
        for folder in self.held.iterdir():
            if _is_free(folder / ".lock"):
                shutil.rmtree(folder, ignore_errors=True)
        current = self.environment.resolve()
        for folder in self.environments.iterdir():
            if folder != current and _is_free(self.installing):
                shutil.rmtree(folder, ignore_errors=True)
        for path in self.incoming.iterdir():
            if _is_free(path):
                path.unlink(missing_ok=True)
        for path in self.store.iterdir():
            if path.lstat().st_nlink == 1 and _is_free(path):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def holding(self, files: Sequence[File]) -> Iterator[list[Path]]:
        """Files that are there until the block ends; those that are missing are asked for."""
        with contextlib.ExitStack() as stack:
            with self.alone():
                folder = Path(tempfile.mkdtemp(dir=self.held))
                stack.callback(self._release, folder)
                stack.enter_context(_lock(folder / ".lock"))
                places = [folder / str(n) / _named(file) for n, file in enumerate(files)]
                missing = [n for n, file in enumerate(files) if not self._link(file, places[n])]
            first = {_hash(files[n]): n for n in reversed(missing)}  # of each content
            _say(missing=sorted(first.values()))
            for number in sorted(first.values()):
                self._receive(files[number], places[number])
            for number in set(missing) - set(first.values()):
                os.link(places[first[_hash(files[number])]], places[number])
            yield places

    def _release(self, folder: Path) -> None:
        with self.alone():
            shutil.rmtree(folder, ignore_errors=True)
            self._sweep()

    def _link(self, file: File, place: Path) -> bool:
        """Gives stored content a further name; whether it is there, whole."""
        stored = self.store / _hash(file)
        place.parent.mkdir(exist_ok=True)
        if not stored.exists() or not _is_whole(stored):
            stored.unlink(missing_ok=True)
            return False
        os.link(stored, place)
        return True

    def _receive(self, file: File, place: Path) -> None:
        """Reads a file from standard input."""
        with contextlib.ExitStack() as stack:
            with self.alone():
                handle, name = tempfile.mkstemp(dir=self.incoming)
                arriving = stack.enter_context(open(handle, "wb", buffering=0))
                fcntl.flock(arriving, fcntl.LOCK_EX)
            stack.callback(lambda: Path(name).unlink(missing_ok=True))
            found, left = hashlib.sha256(), int(file["size"])
            while left:
                chunk = sys.stdin.buffer.read(min(left, CHUNK))
                if not chunk:
                    raise Gone
                _write(handle, chunk)
                found.update(chunk)
                left -= len(chunk)
            if found.hexdigest() != file["sha256"]:
                raise Refused(FAILED, f"{file['name']} arrived as something else; send it again")
            os.fsync(handle)
            os.fchmod(handle, 0o644)
            with self.alone():
                if not self._link(file, place):  # another push may have brought it meanwhile
                    os.replace(name, self.store / _hash(file))
                    os.link(self.store / _hash(file), place)

    def set_name(self, file: Path) -> None:
        """Keeps a held file by its name; another of that name is replaced."""
        beside = self.models / f".{file.name}"
        with self.alone():
            beside.unlink(missing_ok=True)
            os.link(file, beside)
            os.replace(beside, self.models / file.name)
            beside.unlink(missing_ok=True)  # renaming leaves it where both were one file already

    def named(self) -> list[dict[str, Any]]:
        """The named files, by name."""
        hashes = {path.lstat().st_ino: path.name for path in self.store.iterdir()}
        return [
            {"name": path.name, "size": status.st_size, "sha256": hashes.get(status.st_ino)}
            for path in sorted(self.models.iterdir())
            if not path.name.startswith(".") and path.is_file() and (status := path.stat())
        ]


def _is_whole(path: Path) -> bool:
    """Whether stored content is what its name says; cards lose some."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest() == path.name


def _write(handle: int, chunk: bytes) -> None:
    """All of it: what a limit leaves room for is written first, and the rest is refused."""
    view = memoryview(chunk)
    while view:
        view = view[os.write(handle, view) :]


def _hash(file: File) -> str:
    found = str(file["sha256"])
    if not re.fullmatch("[0-9a-f]{64}", found):
        raise Refused(FAILED, f"{found!r} is no SHA-256")
    return found


def _named(file: File) -> str:
    name = str(file["name"])
    if name in ("", ".", "..") or "/" in name or "\0" in name or name.startswith("."):
        raise Refused(FAILED, f"{name!r} is no name of a file")
    return name


def _hello(request: Mapping[str, Any]) -> None:
    spec = importlib.util.find_spec("tfedge")
    machine, is_32_bit = platform.machine(), sys.maxsize < 2**32
    _say(
        python=platform.python_version(),
        program=sys.executable,
        markers={
            "implementation_name": sys.implementation.name,
            "implementation_version": platform.python_version(),
            "os_name": os.name,
            **{f"platform_{name}": getattr(platform, name)() for name in _PLATFORM},
            "python_full_version": platform.python_version(),
            "python_version": ".".join(map(str, sys.version_info[:2])),
            "sys_platform": sys.platform,
        },
        # A 64-bit kernel may run a 32-bit system.
        machine="armv7l" if is_32_bit and machine == "aarch64" else machine,
        libc=platform.libc_ver(),
        tfedge=digest(Path(spec.origin).parent) if spec and spec.origin else None,
        packages=[name for name in _PACKAGES if importlib.util.find_spec(name)],
        runtimes=[name for name in _RUNTIMES if importlib.util.find_spec(_RUNTIMES[name])],
    )


def _hold(request: Mapping[str, Any]) -> None:
    with Depot().holding(request["files"]) as places:
        _say(paths=list(map(str, places)))
        while sys.stdin.buffer.read(CHUNK):
            pass


def _name(request: Mapping[str, Any]) -> None:
    depot = Depot()
    with depot.holding(request["files"]) as places:
        for place in places:
            depot.set_name(place)
        _say(models=depot.named())


def _list(request: Mapping[str, Any]) -> None:
    _say(models=Depot().named())


def _remove(request: Mapping[str, Any]) -> None:
    depot, removed = Depot(), []
    with depot.alone():
        for name in request["names"]:
            path = depot.models / _named({"name": name})
            if path.is_dir() and not path.is_symlink():
                raise Refused(
                    FAILED, f"{name!r} is a folder, which no push made; take it away there"
                )
            if path.is_symlink() or path.exists():
                path.unlink()
                removed.append(name)
    Depot()  # which sweeps
    _say(removed=removed, models=depot.named())


def _install(request: Mapping[str, Any]) -> None:
    depot = Depot()
    place = depot.environments / str(request["key"])
    if depot.environment.resolve() == place and (place / "complete").exists():
        _say(installed=False)
        return
    with _lock(depot.installing), depot.holding(request["files"]) as wheels:
        _say(received=len(wheels))
        try:
            # Another host may have made it while this one waited.
            if not (place / "complete").exists():
                _make_environment(place, wheels, bool(request["system_packages"]))
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        beside = depot.root / ".env"
        with depot.alone():
            beside.unlink(missing_ok=True)
            beside.symlink_to(place.relative_to(depot.root))
            os.replace(beside, depot.environment)
    Depot()  # which sweeps
    _say(installed=True)


def _make_environment(place: Path, wheels: Sequence[Path], system_packages: bool) -> None:
    """An environment with nothing but these wheels, by the pip that is among them."""
    import venv

    venv.create(place, symlinks=True, clear=True, system_site_packages=system_packages)
    (pip,) = (wheel for wheel in wheels if wheel.name.startswith("pip-"))
    command = [str(place / "bin/python"), f"{pip}/pip", "install", "--quiet", "--no-index"]
    command += ["--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    settings = {name: os.environ[name] for name in os.environ if not name.startswith("PIP_")}
    with tempfile.TemporaryFile(dir=place) as errors:
        done = subprocess.Popen(
            [*command, *map(str, wheels)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**settings, "PIP_CONFIG_FILE": os.devnull},
        )
        try:
            while done.poll() is None:
                # Nothing more is sent: what can be read is the end, where the host is gone.
                if select.select([sys.stdin.fileno()], [], [], 0.2)[0]:
                    raise Gone
        finally:
            done.kill()
            done.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    if done.returncode:
        kind = FULL if any(text in said for text in map(os.strerror, _FULL)) else FAILED
        lines = said.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Refused(kind, f"pip cannot install there: {lines[-1]}")
    (place / "complete").touch()
    os.sync()


VERBS = {verb.__name__[1:]: verb for verb in (_hello, _hold, _name, _list, _remove, _install)}


def _end(number: int, frame: object) -> NoReturn:
    raise Gone


def main() -> None:
    """Does what is asked, and takes away what it has begun where it cannot be done."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _end)
    try:
        request = json.loads(sys.stdin.buffer.readline())
        try:
            VERBS[request["verb"]](request)
        except Refused as error:
            _say(error=error.kind, message=str(error))
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise Gone from error
            kind = FULL if error.errno in _FULL else FAILED
            _say(error=kind, message=f"{error.filename or FOLDER}: {error.strerror}")
    except (Gone, BrokenPipeError):
        # Nobody hears of it; Python would try once more to write what is left.
        os._exit(1)


if __name__ == "__main__":
    main()
