"""Makes a board ready: an environment there with this tfedge, and what its doctor finds."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.boards import wheels
from tfedge.boards.errors import BoardPythonError, BoardVersionError
from tfedge.boards.remote import Remote
from tfedge.boards.service import Served, Service, serve
from tfedge.errors import InputError, MissingPackageError

_DOCTOR = ("-m", "tfedge.runtime.infer", "--doctor", "--json")


@dataclasses.dataclass(frozen=True)
class Ready:
    """A board that has been set up."""

    board: str
    installed: bool  # whether anything was; False where it was there already
    wheels: int  # how many there are
    doctor: Mapping[str, Any]  # what `tfedge-infer --doctor --json` prints there
    served: Served | None = None  # by its systemd


def set_up(
    remote: Remote, python: str, runtime: str | None, service: Service | None = None
) -> Ready:
    """Makes an environment on a board, unless it is there, and has its doctor look.

    Args:
        python: the command of the Python there of which to make it.
        runtime: one to have besides the one that tfedge takes by itself there; by default the board's.
            Those that an environment there has stay.
        service: what its systemd is to serve.

    Raises:
        InputError: the user has named a Python for that board.
        MissingPackageError: no wheels are found for it.
        BoardError: it cannot be reached, its Python does not do, or it has no room.
    """
    if not remote.entry.is_own:
        raise InputError(
            f"{remote.name} has python = {remote.entry.python!r} in boards.toml, which is not ours to "
            "change: take that line out, and an environment is made"
        )
    base = dataclasses.replace(remote, entry=dataclasses.replace(remote.entry, python=python))
    with tempfile.TemporaryDirectory(prefix="tfedge-") as folder:
        found, place = _wheels(base, runtime, Path(folder), _runtimes_of(remote))
        installed = base.install(_key(found, base.facts), found, bool(place.provided))
    fresh = dataclasses.replace(remote)
    fresh.check(runtime)
    found_there = fresh.json_of(*_DOCTOR)
    served = serve(fresh, service) if service is not None else None
    return Ready(remote.name, installed, len(found), found_there, served)


def write_wheels(remote: Remote, python: str, runtime: str | None, folder: Path) -> list[str]:
    """Writes all wheels that boards like this one need, ours and pip's too, into a folder, for tools
    that see to many; gives the names of the files. What else the folder has stays.

    Raises as `set_up`, InputError where the folder cannot be written.
    """
    base = dataclasses.replace(remote, entry=dataclasses.replace(remote.entry, python=python))
    with tempfile.TemporaryDirectory(prefix="tfedge-") as place:
        found, _ = _wheels(base, runtime, Path(place))
        for path in found:
            files.write_bytes(folder / path.name, path.read_bytes())
    return sorted(path.name for path in found)


def _runtimes_of(remote: Remote) -> Sequence[str]:
    """The runtimes of the environment that a board has; none where there is none that starts."""
    try:
        return list(remote.facts["runtimes"])
    except (BoardVersionError, BoardPythonError):
        return ()


def _wheels(
    base: Remote, runtime: str | None, folder: Path, present: Sequence[str] = ()
) -> tuple[list[Path], wheels.Place]:
    """The wheels for the Python of a board, ours in `folder`, and what they fit; the runtimes that are
    `present` have theirs among them."""
    place = wheels.place_of(base.facts)
    if place.provided:  # what the system has, its environments have without a wheel
        present = [name for name in present if name not in base.facts["runtimes"]]
    modules = [wheels.FROM_DEBIAN[package] for package in place.provided]
    if lacking := [name for name in modules if name not in base.facts["packages"]]:
        packages = " ".join(f"python3-{name}" for name in lacking)
        raise MissingPackageError(
            f"{base.name} lacks what has no wheels for {base.facts['machine']}: `sudo apt install "
            f"{packages}` there"
        )
    own = wheels.own_wheel(folder)
    with base.make_bar(f"fetching wheels for {base.name}", 1) as bar:
        asked = runtime or base.entry.runtime
        stay = wheels.that_stay(place, present, own)
        wanted = [*([asked] if asked else []), *(name for name in stay if name != asked)]
        found = wheels.wheels_for(place, wanted, own)
        bar.advance()
    return found, place


def _key(found: Sequence[Path], facts: Mapping[str, Any]) -> str:
    """The name of an environment of these wheels and that Python."""
    names = sorted(f"{path.name} {files.sha256(path)}" for path in found)
    text = "\n".join([facts["python"], facts["program"], *names])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
