"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from privileges import obey_permissions

from tfedge import files
from tfedge.errors import InputError
from tfedge.files import (
    atomic_path,
    check_folder,
    is_name,
    replace_folder,
    scratch_folder,
    sha256,
    write_bytes,
    write_json,
)

OLD = b"the older file"
FULL = "/dev/full"  # takes no byte: "No space left on device"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that is there already, alone in its folder."""
    path = tmp_path / "model.tflite"
    path.write_bytes(OLD)
    return path


def assert_untouched(target: Path) -> None:
    """The older file is as it was and nothing is beside it."""
    assert target.read_bytes() == OLD
    assert list(target.parent.iterdir()) == [target]


def test_replaces_when_the_block_ends(target: Path) -> None:
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent  # a rename across file systems is no rename
        assert temporary.suffix == ".tflite"
        temporary.write_bytes(b"new")
        assert target.read_bytes() == OLD
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_makes_the_folders_on_the_way(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "file", b"content")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"")
    finally:
        found = os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert found == 0o027  # looking at the umask has not changed it


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_failure_or_interrupt_leaves_the_older_file(target: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, atomic_path(target) as temporary:
        temporary.write_bytes(b"half of the n")
        raise error
    assert raised.value is error
    assert_untouched(target)


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """The kernel lets no file grow beyond 1000 bytes: a write stops half-way, as on a full disk.

    Only while the test's own lines run: pytest's output may be a longer file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_write_that_stops_half_way(target: Path) -> None:
    with small_files():
        write_bytes(target.with_name("whole"), bytes(1000))
        target.with_name("whole").unlink()
        with pytest.raises(InputError) as raised:
            write_bytes(target, bytes(1001))
    assert str(raised.value) == f"cannot write {target}: {os.strerror(errno.EFBIG)}"
    assert_untouched(target)


def test_full_disk(target: Path) -> None:
    with (
        pytest.raises(InputError) as raised,
        atomic_path(target) as temporary,
        open(FULL, "wb") as full,
    ):
        temporary.write_bytes(b"half of the n")
        full.write(b"ew file")
    assert str(raised.value) == f"cannot write {target}: No space left on device"
    assert_untouched(target)


def test_disk_too_full_for_another_file(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkstemp(**_: object) -> tuple[int, str]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    with pytest.raises(InputError, match=r"^cannot write .*: No space left on device; choose"):
        write_bytes(target, b"new")
    assert_untouched(target)


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """Nor is a device: root could else take /dev/null away."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(InputError, match="is a pipe or a device; give a file"):
            write_bytes(path, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode) and link.is_symlink()


def test_half_a_character_is_no_name() -> None:
    assert not is_name("\ud800")
    assert is_name("\udce9")  # a byte that is no UTF-8, as Python has it
    assert is_name("日本")


def test_folder_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "model.tflite" / "inside").mkdir(parents=True)
    with pytest.raises(InputError, match=r"^cannot write .*model\.tflite: Is a directory$"):
        write_bytes(tmp_path / "model.tflite", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]
    assert [path.name for path in (tmp_path / "model.tflite").iterdir()] == ["inside"]


def test_file_in_place_of_the_folder(target: Path) -> None:
    for path in (target / "a", target / "a" / "b"):
        with pytest.raises(InputError, match=f"^cannot write {path}: .*; choose another folder$"):
            write_bytes(path, b"new")
    assert_untouched(target)


WRITE = """
import os, sys
from tfedge.errors import TfedgeError
from tfedge.files import check_folder, write_bytes
for path in sys.argv[1:]:
    for attempt in (lambda: write_bytes(path, b"new"), lambda: check_folder(os.path.dirname(path))):
        try:
            attempt()
        except TfedgeError as error:
            print(error)
"""


def test_read_only_folder(target: Path) -> None:
    inside, deeper = target, target.parent / "a" / "b" / "model.tflite"
    target.parent.chmod(0o500)
    try:
        done = subprocess.run(
            [sys.executable, "-c", WRITE, inside, deeper],
            preexec_fn=obey_permissions,
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        target.parent.chmod(0o700)
    why = "Permission denied; choose another folder"
    assert done.stdout.splitlines() == [
        f"cannot write {inside}: {why}",
        f"cannot write into {inside.parent}: {why}",
        f"cannot write {deeper}: {why}",
        f"cannot write into {deeper.parent}: {why}",
    ]
    assert_untouched(target)


def test_folder_that_can_be_written(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of the attempt, and no folder is made."""
    monkeypatch.chdir(target.parent)
    for folder in (target.parent, target.parent / "a" / "b", Path("a"), Path()):
        check_folder(folder)
    assert_untouched(target)


def test_file_where_a_folder_should_be(target: Path) -> None:
    for folder in (target, target / "a"):
        with pytest.raises(InputError, match=f"^cannot write into {folder}: Not a directory"):
            check_folder(folder)
    assert_untouched(target)


HANG = """
import sys, time
from tfedge.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half of the n")
    print("written", flush=True)
    time.sleep(60)
"""


def test_kill_leaves_the_older_file(target: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HANG, target], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert target.read_bytes() == OLD


def test_json_is_readable_by_people(tmp_path: Path) -> None:
    content = {"text": "un café — 映画", "figures": [1, 0.5, None]}
    write_json(tmp_path / "report.json", content)
    written = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(written) == content
    assert written.startswith('{\n  "text": "un café — 映画",\n')
    assert written.endswith("}\n")


def test_json_names_files_that_are_not_utf_8(tmp_path: Path) -> None:
    """Python holds such a name's bytes as halves of characters, which UTF-8 cannot encode."""
    content = {"output": os.fsdecode(b"caf\xe9")}
    write_json(tmp_path / "report.json", content)
    assert json.loads((tmp_path / "report.json").read_bytes()) == content


def test_what_is_no_json_leaves_the_older_file(target: Path) -> None:
    with pytest.raises(TypeError):
        write_json(target, {"path": Path("a")})
    assert_untouched(target)


@pytest.mark.parametrize("exchanges", [True, False])
def test_folders_take_each_others_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:  # as some file systems
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    new, place = tmp_path / "new", tmp_path / "place"
    for folder in (new, place):
        folder.mkdir()
        (folder / folder.name).write_text("")
    replace_folder(new, place)
    assert [path.name for path in place.iterdir()] == ["new"]
    assert [path.name for path in new.iterdir()] == ["place"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "place"]
    replace_folder(new, tmp_path / "elsewhere")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["place"]
    assert not new.exists()


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "abc") == expected
    # More than one chunk, the last of them a short one.
    content = b"0123456789" * 250_000
    (tmp_path / "large").write_bytes(content)
    assert sha256(tmp_path / "large") == hashlib.sha256(content).hexdigest()


def test_scratch_folder_clears_what_a_killed_run_left(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "model"
    with scratch_folder(place) as folder:
        (folder / "half").touch()
        # A kill here leaves the folder; the next run has it empty.
        with scratch_folder(place) as again:
            assert [*again.iterdir()] == []
    assert [*place.parent.iterdir()] == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="choose another folder"):
        scratch_folder(tmp_path / "file" / "model").__enter__()
