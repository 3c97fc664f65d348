"""`tfedge board setup` on boards with nothing but a Python."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bars import Bars
from server import Server

import tfedge
from tfedge.boards import agent, errors, wheels
from tfedge.boards.agent import FOLDER, PYTHON
from tfedge.boards.book import book_path
from tfedge.boards.remote import Remote
from tfedge.boards.setup import set_up
from tfedge.errors import InputError, MissingPackageError

Named = Callable[[str], Remote]


def clean(home: Path) -> bool:
    """Whether a board has one environment or none, whole, and nothing else."""
    root = home / FOLDER
    for folder in ("store", "held", "incoming"):
        if (root / folder).exists() and list((root / folder).iterdir()):
            return False
    made = list((root / "envs").iterdir()) if (root / "envs").exists() else []
    current = (home / FOLDER / "env").resolve()
    return not made or (made == [current] and (current / "complete").exists())


def settled(home: Path) -> None:
    deadline = time.monotonic() + 30
    while not clean(home):
        assert time.monotonic() < deadline, sorted(map(str, (home / FOLDER).glob("*/*")))
        time.sleep(0.05)


def test_once_and_again(
    boards: Server, remote: Named, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = boards.homes["shed"]
    found = set_up(remote("shed"), sys.executable, None)
    assert (found.board, found.installed) == ("shed", True)
    assert found.doctor["can_answer"]
    assert found.doctor["runtime"] == remote("shed").facts["runtimes"][0]
    settled(home)
    # It has its own tfedge.
    done = subprocess.run(
        [home / PYTHON, "-c", "import tfedge.runtime; print(tfedge.__file__)"],
        cwd=home,
        capture_output=True,
        text=True,
        env={},
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(home / FOLDER / "env")
    made = (home / FOLDER / "env").resolve()
    again = remote("shed")
    assert not set_up(again, sys.executable, None).installed
    assert (home / FOLDER / "env").resolve() == made
    assert not [bar for bar in again.make_bar if "sending" in bar.description]  # type: ignore[attr-defined]
    # Without a network: the wheels are kept.
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert not set_up(remote("shed"), sys.executable, None).installed


def test_a_runtime_that_was_asked_for_stays(
    boards: Server, remote: Named, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever a later run asks for."""
    shed, sent = remote("shed"), []
    there = {"runtimes": ["tflite-runtime", "litert"], "packages": [], "machine": "aarch64"}
    there |= {"tfedge": agent.digest(Path(tfedge.__file__).parent), "program": "/usr/bin/python3"}
    there |= {"python": "3.11.2", "libc": ["glibc", "2.36"]}
    markers = {"python_version": "3.11", "sys_platform": "linux", "platform_machine": "aarch64"}
    monkeypatch.setattr(Remote, "facts", {**there, "markers": markers})
    monkeypatch.setattr(Remote, "install", lambda *_: False)
    monkeypatch.setattr(Remote, "json_of", lambda *_: {})

    def wheels_for(place: wheels.Place, runtimes: list[str], own: Path) -> list[Path]:
        sent.append(runtimes)
        return [own]

    monkeypatch.setattr("tfedge.boards.wheels.wheels_for", wheels_for)
    for runtime in (None, "litert", "tflite-runtime"):
        set_up(shed, "python3", runtime)
    assert sent == [["litert"], ["litert"], ["tflite-runtime", "litert"]]


@dataclasses.dataclass(frozen=True)
class Bare:
    """A board with a Python, and few wheels that make an environment in a moment."""

    remote: Remote
    home: Path
    wheels: list[Path]

    def install(self, key: str = "1") -> bool:
        return self.remote.install(key, self.wheels, False)


@pytest.fixture
def bare(boards: Server, remote: Named, offline: Path, tmp_path: Path) -> Bare:
    entry = dataclasses.replace(remote("shed").entry, python=sys.executable)
    large = tmp_path / "large-1.0-py3-none-any.whl"
    content = {
        "large.bin": random.Random(1).randbytes(2 << 20) + bytes(6 << 20),
        "large-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: large\nVersion: 1.0\n",
        "large-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    wheels.write_wheel(large, content, "large-1.0.dist-info/RECORD")
    (pip,) = offline.glob("pip-*.whl")
    return Bare(Remote(entry, Bars()), boards.homes["shed"], [pip, large])


def test_another_takes_the_place(bare: Bare) -> None:
    place = bare.home / FOLDER / "env"
    assert [bare.install(key) for key in ("1", "1", "2")] == [True, False, True]
    assert place.resolve().name == "2"
    assert (next(place.glob("lib/python*/site-packages")) / "large.bin").stat().st_size == 8 << 20
    settled(bare.home)


def test_a_python_of_the_users_own(boards: Server, remote: Named) -> None:
    book_path().parent.mkdir(parents=True)
    book_path().write_text('[shed]\nhost = "shed"\npython = "edge/bin/python"\n')
    with pytest.raises(InputError, match=r"^shed has python = 'edge/bin/python' in boards\.toml"):
        set_up(remote("shed"), "python3", None)


@pytest.mark.parametrize(
    ("python", "words"), [("no/python3", "'no/python3'"), ("cat", "'cat' is no")]
)
def test_no_python(boards: Server, remote: Named, python: str, words: str) -> None:
    with pytest.raises(errors.BoardPythonError, match=words):
        set_up(remote("shed"), python, None)


def test_a_32_bit_system(boards: Server, remote: Named, offline: Path) -> None:
    """Whose numpy comes from Debian."""
    shed = remote("shed")
    facts = {**Remote(dataclasses.replace(shed.entry, python=sys.executable), Bars()).facts}
    facts |= {"machine": "armv7l", "packages": ["yaml"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Remote, "facts", facts)
        with pytest.raises(MissingPackageError, match=r"apt install python3-numpy` there$"):
            set_up(shed, "python3", None)


def test_no_wheels(boards: Server, remote: Named, offline: Path, tmp_path: Path) -> None:
    entry = dataclasses.replace(remote("shed").entry, python=sys.executable)
    place = wheels.place_of(Remote(entry, Bars()).facts)
    own = tmp_path / "own-1.0-py3-none-any.whl"
    content = {"own-1.0.dist-info/METADATA": b"Name: own\nRequires-Dist: no-such-package>=2\n"}
    wheels.write_wheel(own, content, "own-1.0.dist-info/RECORD")
    words = r"^pip finds no wheels for Python 3\.\d+ on manylinux_\w+ \(.*no-such-package>=2\)"
    for _ in range(2):  # nothing is kept of what failed
        with pytest.raises(MissingPackageError, match=words):
            wheels.wheels_for(place, [], own)


@pytest.mark.parametrize("blocks", [3000, 9000])
def test_no_room(bare: Bare, blocks: int) -> None:
    """For a wheel, or for what is in it."""
    (bare.home / "limit").write_text(str(blocks))
    with pytest.raises(errors.BoardFullError, match="File too large; free some room"):
        bare.install()
    settled(bare.home)
    (bare.home / "limit").unlink()
    assert bare.install()
    settled(bare.home)


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_kills(bare: Bare, boards: Server, kills: int) -> None:
    """At random moments: nothing half is left, and the last run ends well."""
    moments, killed = random.Random(4711), 0
    for number in range(kills):
        timer = threading.Timer(moments.uniform(0.1, 2.5), boards.cut)
        timer.start()
        try:
            bare.install(str(number))
        except errors.BoardError as error:
            assert error.exit_code in (12, 17), error
            killed += 1
        timer.cancel()
        settled(bare.home)
    assert killed > kills // 4
    bare.install("last")
    settled(bare.home)
    assert (bare.home / FOLDER / "env").resolve().name == "last"
