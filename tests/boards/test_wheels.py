"""Which wheels a board is sent: by its own Python and system, not by this machine's."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tfedge.boards import wheels
from tfedge.boards.wheels import PIP, Place, own_wheel, place_of, wheels_for
from tfedge.errors import MissingPackageError

MARKERS = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "aarch64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.13.5",
    "python_version": "3.13",
    "sys_platform": "linux",
}
TAG = "cp313-cp313-manylinux_2_28_aarch64"


def facts(machine: str = "aarch64", libc: tuple[str, str] = ("glibc", "2.36")) -> dict[str, Any]:
    return {"machine": machine, "libc": libc, "markers": {**MARKERS, "platform_machine": machine}}


def write(
    folder: Path, name: str, *needs: str, version: str = "1.0", tag: str = "py3-none-any"
) -> Path:
    """A wheel that has nothing in it."""
    path = folder / f"{name}-{version}-{tag}.whl"
    about = f"{name}-{version}.dist-info"
    headers = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    headers += [f"Requires-Dist: {need}" for need in needs]
    content = {f"{about}/METADATA": "\n".join([*headers, ""]).encode()}
    content[f"{about}/WHEEL"] = f"Wheel-Version: 1.0\nTag: {tag}\n".encode()
    wheels.write_wheel(path, content, f"{about}/RECORD")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip finds."""
    folder = tmp_path / "index"
    folder.mkdir()
    write(folder, PIP)
    settings: Mapping[str, str] = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": "/dev/null",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return folder


def names(found: list[Path]) -> list[str]:
    return sorted("-".join(path.name.split("-")[:2]) for path in found)


@pytest.mark.parametrize(
    ("python", "stay"), [("3.9", []), ("3.11", ["litert"]), ("3.12", []), ("3.13", [])]
)
def test_runtimes_that_stay(tmp_path: Path, python: str, stay: list[str]) -> None:
    """Those that nothing else brings, where there are wheels of them."""
    own = write(
        tmp_path,
        "own",
        "tflite-runtime; python_version < '3.12'",
        "ai_edge_litert>=2; python_version >= '3.12'",
    )
    place = Place(python, ("linux_x86_64",), {**MARKERS, "python_version": python})
    assert wheels.that_stay(place, ["litert", "tflite-runtime"], own) == stay
    assert wheels.that_stay(place, [], own) == []


def test_a_package_that_wants_another_version_is_taken_older(index: Path, tmp_path: Path) -> None:
    """As ml_dtypes 0.7 wants numpy 2, which tflite-runtime cannot have; what the newer one alone needs
    is not sent."""
    own = write(tmp_path, "own", "number<2", "runtime")
    for version in ("1.26", "2.4"):
        write(index, "number", version=version)
    write(index, "runtime", "types")
    write(index, "types", "number>=1.21", version="0.5")
    write(index, "types", "number>=2", "extra_part", version="0.7")
    write(index, "extra_part")
    found = wheels_for(place_of(facts()), [], own)
    assert names(found) == ["number-1.26", "own-1.0", "pip-1.0", "runtime-1.0", "types-0.5"]


def test_versions_that_never_fit_are_told(index: Path, tmp_path: Path) -> None:
    own = write(tmp_path, "own", "number<2", "types")
    write(index, "number", version="1.26")
    for version in ("0.6", "0.7"):
        write(index, "types", "number>=2", version=version)
    with pytest.raises(MissingPackageError, match=r"for types!=0.6,!=0.7|for types!=0.7,!=0.6"):
        wheels_for(place_of(facts()), [], own)


def test_by_the_boards_markers(index: Path, tmp_path: Path) -> None:
    """Of packages that packages need, too; and with what they are asked for in brackets."""
    own = write(tmp_path, "own", 'old; python_version < "3.12"', 'new>=2; python_version >= "3.12"')
    write(
        index, "new", "inner[more]>=1", 'x86; platform_machine == "x86_64"', version="2.1", tag=TAG
    )
    write(index, "inner", 'arm; platform_machine == "aarch64"', 'added; extra == "more"')
    for name in ("arm", "added"):
        write(index, name)
    found = wheels_for(place_of(facts()), [], own)
    assert found[0] == own
    assert names(found) == ["added-1.0", "arm-1.0", "inner-1.0", "new-2.1", "own-1.0", "pip-1.0"]


def test_a_later_need_that_is_narrower(index: Path, tmp_path: Path) -> None:
    own = write(tmp_path, "own", "first", "second")
    write(index, "second", "first<2")
    write(index, "first", version="1.5")
    write(index, "first", version="2.5")
    found = wheels_for(place_of(facts()), [], own)
    assert names(found) == ["first-1.5", "own-1.0", "pip-1.0", "second-1.0"]


def test_a_wheel_for_another_system(index: Path, tmp_path: Path) -> None:
    own = write(tmp_path, "own", "new")
    write(index, "new", tag=TAG)
    old = place_of(facts(libc=("glibc", "2.27")))
    with pytest.raises(
        MissingPackageError, match=r"Python 3\.13 on manylinux_2_27_aarch64 \(.*new"
    ):
        wheels_for(old, [], own)
    assert len(wheels_for(place_of(facts(libc=("glibc", "2.28"))), [], own)) == 3


def test_a_runtime_besides(index: Path, tmp_path: Path) -> None:
    own = write(tmp_path, "own")
    write(index, "ai_edge_litert", tag=TAG)
    found = wheels_for(place_of(facts()), ["litert"], own)
    assert names(found) == ["ai_edge_litert-1.0", "own-1.0", "pip-1.0"]


def test_what_the_system_has(index: Path, tmp_path: Path) -> None:
    """On 32-bit ARM."""
    place = place_of(facts("armv7l"))
    assert place.provided == ("numpy", "pyyaml")
    assert place.markers["platform_machine"] == "armv7l"
    found = wheels_for(place, [], write(tmp_path, "own", "numpy>=1.23", "PyYAML"))
    assert names(found) == ["own-1.0", "pip-1.0"]


def test_platforms() -> None:
    assert place_of(facts(libc=("glibc", "2.18"))).platforms == (
        *("manylinux_2_18_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
        "linux_aarch64",
    )
    old = place_of(facts("x86_64", ("glibc", "2.12"))).platforms
    assert old[:2] == ("manylinux_2_12_x86_64", "manylinux2010_x86_64")
    assert old[-2:] == ("manylinux1_x86_64", "linux_x86_64")
    assert place_of(facts(libc=("", ""))).platforms == ("linux_aarch64",)


def test_without_pip(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(write_python(tmp_path)))
    place = Place("3.13", ("linux_aarch64",), MARKERS)
    with pytest.raises(
        MissingPackageError, match=r"^pip, which fetches wheels, is not installed in"
    ):
        wheels_for(place, [], write(tmp_path, "own"))


def write_python(folder: Path) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\necho '{path}: No module named pip' >&2\nexit 1\n")
    path.chmod(0o755)
    return path


def test_our_own(tmp_path: Path) -> None:
    """The same bytes each time, with all that is imported here, and programs."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (own_wheel(tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        found = archive.namelist()
        assert {"tfedge/runtime/infer.py", "tfedge/data/sentences.tsv"} <= set(found)
        assert not [name for name in found if "__pycache__" in name]
        (about,) = (name for name in found if name.endswith("/METADATA"))
        text = archive.read(about).decode()
        assert "Requires-Dist: click" in text
