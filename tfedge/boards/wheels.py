"""The wheels that a board needs: tfedge's own, made of what is installed here, and all that it needs.

They are for the board's Python and system, which need not be like this machine's.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import importlib.metadata
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

import tfedge
from tfedge import __version__, files
from tfedge.errors import MissingPackageError
from tfedge.runtime.runtimes import RUNTIMES

OWN = "tfedge"
PIP = "pip"  # which installs them there, where there need not be one
# What PyPI has not for 32-bit ARM, but Debian -> the module, by which Debian calls it: python3-MODULE.
FROM_DEBIAN = {"numpy": "numpy", "pyyaml": "yaml"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first of zip: the same files are the same wheel
# Where the names of wheels begin that say which glibc they need, by machine.
_OLDEST_GLIBC = {"x86_64": 5, "i686": 5}
_OLDER_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclasses.dataclass(frozen=True)
class Place:
    """What a wheel has to fit."""

    python: str  # "3.11"
    platforms: tuple[str, ...]  # as names of wheels have them, the best first
    markers: Mapping[str, str]  # what requirements may ask for, see PEP 508
    provided: tuple[str, ...] = ()  # packages that the system there has itself


def place_of(facts: Mapping[str, Any]) -> Place:
    """What wheels for a board have to fit, of what its agent says of it."""
    machine, (libc, version) = facts["machine"], facts["libc"]
    platforms = []
    if libc == "glibc":
        newest, oldest = int(version.split(".")[1]), _OLDEST_GLIBC.get(machine, 17)
        for minor in range(newest, oldest - 1, -1):
            platforms.append(f"manylinux_2_{minor}_{machine}")
            if minor in _OLDER_NAMES:
                platforms.append(f"{_OLDER_NAMES[minor]}_{machine}")
    markers = {**facts["markers"], "platform_machine": machine}
    provided = tuple(FROM_DEBIAN) if machine == "armv7l" else ()
    return Place(markers["python_version"], (*platforms, f"linux_{machine}"), markers, provided)


def own_wheel(folder: Path) -> Path:
    """Writes tfedge's wheel, of what this Python imports; raises MissingPackageError where it is not
    installed here, but only found."""
    try:
        installed = importlib.metadata.distribution(OWN)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingPackageError(
            "this tfedge is not installed, so nothing says what it needs: "
            "`pip install '.[convert]'` in the clone"
        ) from error
    root = Path(tfedge.__file__).parent
    content = {
        path.relative_to(root.parent).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = f"{OWN}-{__version__}.dist-info"
    headers = [f"Name: {OWN}", f"Version: {__version__}"]
    headers.append(f"Requires-Python: {installed.metadata['Requires-Python']}")
    headers += [
        f"Provides-Extra: {one}" for one in installed.metadata.get_all("Provides-Extra", [])
    ]
    headers += [f"Requires-Dist: {one}" for one in installed.requires or ()]
    texts = {
        "METADATA": "\n".join(["Metadata-Version: 2.1", *headers, ""]),
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: {OWN}\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": installed.read_text("entry_points.txt") or "",
    }
    content |= {f"{about}/{name}": text.encode() for name, text in texts.items()}
    path = folder / f"{OWN}-{__version__}-py3-none-any.whl"
    write_wheel(path, content, f"{about}/RECORD")
    return path


def write_wheel(path: Path, content: Mapping[str, bytes], record: str) -> None:
    """Writes files by their names into a wheel, and the list of them that it has to have."""
    lines = io.StringIO()
    rows = csv.writer(lines, lineterminator="\n")
    for name, data in content.items():
        found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        rows.writerow((name, f"sha256={found}", len(data)))
    rows.writerow((record, "", ""))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**content, record: lines.getvalue().encode()}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)


def that_stay(place: Place, runtimes: Sequence[str], own: Path) -> list[str]:
    """Of the runtimes that a board has, those to install again: `own` does not bring them there by
    itself, and there are wheels of them for its Python."""
    needs = (_needed(text, place, set()) for text in _requirements(own))
    brought = {canonicalize_name(one.name) for one in needs if one is not None}
    python = Version(place.python).release
    return [
        name
        for name, one in RUNTIMES.items()
        if name in runtimes
        and canonicalize_name(one.package) not in brought
        and one.oldest <= python <= (one.newest or python)
    ]


def wheels_for(place: Place, runtimes: Sequence[str], own: Path) -> list[Path]:
    """All wheels for a board: `own`, what it needs, and pip; fetched once, into the user's cache.

    Args:
        runtimes: to have besides what tfedge needs there by itself.

    Raises:
        MissingPackageError: pip is not installed here, or finds no wheel for the board.
    """
    wanted = [*_requirements(own), PIP]
    wanted += [RUNTIMES[runtime].package for runtime in runtimes]
    profile = repr((place.python, place.platforms, place.provided, wanted))
    key = hashlib.sha256(profile.encode()).hexdigest()[:16]
    folder = files.user_folder("XDG_CACHE_HOME", ".cache") / "tfedge" / "wheels" / key
    if not folder.exists():
        with files.scratch_folder(folder) as new:
            _Fetching(place, wanted, new).run()
            if not folder.exists():  # another process may have been faster
                new.rename(folder)
    return [own, *sorted(folder.glob("*.whl"))]


def _requirements(wheel: Path) -> list[str]:
    """What a wheel says it needs, with markers."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (
            name
            for name in archive.namelist()
            if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
        )
        headers = HeaderParser().parsestr(archive.read(name).decode("utf-8"))
    return [str(one) for one in headers.get_all("Requires-Dist", [])]


class _Fetching:
    """Fetches wheels into a folder until none needs another.

    pip would do it in one step, but asks its own machine what markers ask for: of a board with another
    Python it would take the wrong packages. Where no version of a package is what all ask for, a
    package that asks for it is taken in another version.
    """

    def __init__(self, place: Place, wanted: Sequence[str], folder: Path) -> None:
        self._place, self._folder = place, folder
        self._texts: dict[str, Sequence[str]] = {
            "": wanted
        }  # what each package found says it needs
        self._found: dict[str, Path] = {}
        self._refused: dict[str, SpecifierSet] = {}  # versions that do not fit the others

    def run(self) -> None:
        """Raises MissingPackageError where there are no wheels that fit each other."""
        while lacking := self._lacking():
            try:
                self._take(lacking)
            except _NoWheelError:
                for name, versions in lacking.items():  # pip does not say which of them it is
                    try:
                        self._take({name: versions})
                    except _NoWheelError as error:
                        self._go_back(name, error)

    def _lacking(self) -> dict[str, SpecifierSet]:
        """The packages that have to be fetched, in what versions; what nobody needs is let go."""
        asked: dict[str, SpecifierSet] = {}
        for _, one in self._needs():
            asked[_key(one)] = asked.get(_key(one), SpecifierSet()) & one.specifier
        for name, versions in self._refused.items():
            if name in asked:
                asked[name] &= versions
        for name in self._found.keys() - asked.keys():
            self._forget(name)
        return {
            name: versions
            for name, versions in asked.items()
            if name not in self._found
            or not versions.contains(_version(self._found[name]), prereleases=True)
        }

    def _needs(self) -> list[tuple[str, Requirement]]:
        """Who needs what, on this board and with what is asked for in brackets."""
        extras: dict[str, set[str]] = {}
        while True:
            needs = [
                (whose, one)
                for whose, texts in self._texts.items()
                for text in texts
                if (one := _needed(text, self._place, extras.get(whose, set()))) is not None
            ]
            before, extras = extras, {}
            for _, one in needs:
                extras.setdefault(_key(one), set()).update(one.extras)
            if extras == before:
                return needs

    def _take(self, wanted: Mapping[str, SpecifierSet]) -> None:
        for name in wanted:
            self._forget(name)
        texts = [f"{name}{versions}" for name, versions in wanted.items()]
        for path in _download(self._place, texts, self._folder):
            name = canonicalize_name(parse_wheel_filename(path.name)[0])
            self._found[name], self._texts[name] = path, _requirements(path)

    def _go_back(self, name: str, error: _NoWheelError) -> None:
        """Has another version of the last package found that needs this one."""
        asking = {whose for whose, one in self._needs() if whose and _key(one) == name}
        if not asking:
            raise error
        last = [whose for whose in self._found if whose in asking][-1]
        version = SpecifierSet(f"!={_version(self._found[last])}")
        self._refused[last] = self._refused.get(last, SpecifierSet()) & version
        self._forget(last)

    def _forget(self, name: str) -> None:
        if name in self._found:
            self._found.pop(name).unlink()
            del self._texts[name]


class _NoWheelError(MissingPackageError):
    """No wheel is as it is asked for."""


def _key(one: Requirement) -> str:
    return canonicalize_name(one.name)


def _version(path: Path) -> Version:
    return parse_wheel_filename(path.name)[1]


def _needed(text: str, place: Place, extras: set[str]) -> Requirement | None:
    """A requirement, where a board with these markers has it; None where it has not."""
    one = Requirement(text)
    holds = one.marker is None or any(
        one.marker.evaluate({**place.markers, "extra": extra}) for extra in {"", *extras}
    )
    return one if holds and canonicalize_name(one.name) not in place.provided else None


def _download(place: Place, requirements: Sequence[str], folder: Path) -> list[Path]:
    """Has pip fetch wheels, and nothing that they need."""
    if not requirements:
        return []
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", place.python]
    command += [word for name in place.platforms for word in ("--platform", name)]
    with tempfile.TemporaryDirectory(prefix="tfedge-") as fresh:
        command += ["--dest", fresh]
        done = subprocess.run(
            [*command, *requirements], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise _unfetched(place, done.stderr)
        moved = [Path(shutil.move(path, folder)) for path in sorted(Path(fresh).glob("*.whl"))]
    return moved


def _unfetched(place: Place, said: str) -> MissingPackageError:
    if "No module named pip" in said:
        return MissingPackageError(
            f"pip, which fetches wheels, is not installed in {sys.prefix}: `python -m ensurepip`"
        )
    lines = [line for line in said.splitlines() if line.startswith("ERROR: ")]
    last = (lines or said.strip().splitlines() or ["it said nothing"])[-1].removeprefix("ERROR: ")
    is_none = "No matching distribution" in said
    kind = _NoWheelError if is_none else MissingPackageError
    return kind(
        f"pip finds no wheels for Python {place.python} on {place.platforms[0]} ({last}): README.md "
        "says which boards have which, and pip's own settings where it looks"
    )
