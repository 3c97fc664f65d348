"""A disk without room: one line, nothing half, and the same command ends well where there is room."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from kills import COMMANDS, LONGEST_S, furnish, halves, is_temporary, names
from program import environment

WHY = ("No space left on device", "File too large", "no room for temporary files")
PAGE = 4096  # of a disk in memory, which has nothing smaller
# The arguments are a size and a command. A disk of one page is full from the beginning.
SMALL_FILES = 'ulimit -f "$0"; exec "$@"'
SMALL_DISK = """
mount -t tmpfs -o size="$0" tmpfs {place} || exit 99
[ "$0" -gt {page} ] || head -c {page} /dev/zero > {place}/.filler
"$@"
code=$?
rm -f {place}/.filler
cp -a {place}/. kept/
exit $code
"""


def _may_mount() -> bool:
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") is not None and not subprocess.run(mount).returncode


needs_mount = pytest.mark.skipif(not _may_mount(), reason="no file systems of one's own here")


@pytest.fixture(scope="module")
def furnished(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    furnish(folder, toys)
    return folder / "in"


@pytest.fixture
def folder(furnished: Path, tmp_path: Path) -> Path:
    """Where commands run."""
    for part in ("out", "tmp", "kept"):
        (tmp_path / part).mkdir()
    (tmp_path / "in").symlink_to(furnished)
    return tmp_path


def _run(folder: Path, name: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    extra = {"TMPDIR": str(folder / "tmp"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [*prefix, sys.executable, *COMMANDS[name]],
        cwd=folder,
        env={**environment(), **extra},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LONGEST_S,
        check=False,
    )


_WHOLE: dict[str, dict[str, int]] = {}


def _whole(folder: Path, name: str) -> dict[str, int]:
    """The sizes of what a command leaves where there is room, which is taken away; found once."""
    if name in _WHOLE:
        return _WHOLE[name]
    done = _run(folder, name)
    assert done.returncode == 0, done.stderr
    out = folder / "out"
    found = _WHOLE[name] = {left: (out / left).stat().st_size for left in names(out)}
    shutil.rmtree(out)
    out.mkdir()
    return found


def _assert_refused(done: subprocess.CompletedProcess[str], out: Path, whole: set[str]) -> None:
    """That a line says why, and nothing has a final name that is half, alone or without its like."""
    assert done.returncode in (1, 3), done.stderr[-2000:]
    lines = done.stderr.splitlines()
    (said,) = [line for line in lines if any(why in line for why in WHY)]
    # Of `run` the last line is of the stage that has said it.
    assert said.startswith("tfedge") and lines[-1].startswith("tfedge"), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert halves(out) == []
    final = {name for name in names(out) if not is_temporary(out / name, out)}
    assert final < whole


def _assert_recovers(folder: Path, name: str, whole: set[str]) -> None:
    done = _run(folder, name)
    assert done.returncode == 0, done.stderr[-2000:]
    assert halves(folder / "out") == []
    assert names(folder / "out") == whole


def _each(quick: Collection[str], shares: Sequence[float]) -> pytest.MarkDecorator:
    """Every command with every share; all but those of some quick ones with the half are slow."""
    return pytest.mark.parametrize(
        ("name", "share"),
        [
            pytest.param(
                *(name, share), marks=() if name in quick and share == 0.5 else pytest.mark.slow
            )
            for name in COMMANDS
            for share in shares
        ],
    )


@_each(("trim",), [0, 0.02, 0.5, 0.95])
def test_small_files(name: str, share: float, folder: Path) -> None:
    """`ulimit -f`: the largest file that is written stops at that share of its size."""
    whole = _whole(folder, name)
    prefix = ("bash", "-c", SMALL_FILES, str(int(max(whole.values()) * share) // 1024))
    _assert_refused(_run(folder, name, prefix), folder / "out", {*whole})
    _assert_recovers(folder, name, {*whole})


@needs_mount
@_each(("index", "report"), [0, 0.5, 0.95])
def test_small_disk(name: str, share: float, folder: Path) -> None:
    """What is written goes onto a disk that has room for that share of it."""
    whole = _whole(folder, name)
    size = PAGE * max(1, math.ceil(sum(whole.values()) * share / PAGE))
    script = SMALL_DISK.format(place="out", page=PAGE)
    done = _run(folder, name, ("unshare", "-rm", "bash", "-c", script, str(size)))
    (folder / "out").rmdir()
    (folder / "kept").rename(folder / "out")
    _assert_refused(done, folder / "out", {*whole})
    _assert_recovers(folder, name, {*whole})


@needs_mount
@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_no_room_for_what_is_temporary(name: str, folder: Path) -> None:
    """Some need none; all others say so."""
    whole = {*_whole(folder, name)}
    script = SMALL_DISK.format(place="tmp", page=PAGE)
    done = _run(folder, name, ("unshare", "-rm", "bash", "-c", script, str(PAGE)))
    if done.returncode:
        _assert_refused(done, folder / "out", whole)
        _assert_recovers(folder, name, whole)
    else:
        assert names(folder / "out") == whole
    # TensorFlow writes functions that it has translated there, goes on without where it cannot, and
    # leaves the empty files.
    left = [path.name for path in (folder / "kept").iterdir()]
    assert [name for name in left if not name.startswith("__autograph_generated_file")] == []
