"""Writing files so that a kill at any moment leaves the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfedge.errors import InputError
from tfedge.runtime import kept

_LONGEST_NAME = 255  # bytes, in Linux's file systems


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`, renamed to it when the block ends without an error;
    raises InputError where the folder cannot be written or the disk is full."""
    target = Path(path)
    check_regular(target)  # of what is there a pipe or a device would be gone
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent
        )
        os.close(handle)
    except OSError as error:
        reason = f"{error.strerror}; choose another folder"
        raise InputError(f"cannot write {target}: {reason}") from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private to its owner; an artefact is meant to be read by others.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def is_name(name: object) -> bool:
    """Whether what a file says is the name of a file or a folder, and no way to elsewhere."""
    if not isinstance(name, str) or "\0" in name or name == "..":
        return False
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:  # "\ud800", half of a character, which no file can have in its name
        return False
    return size <= _LONGEST_NAME and Path(name).name == name


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raises InputError for a pipe or a device, which lets its reader wait, or has no end; what is
    not there is left to whoever opens it."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f"{os.fspath(path)} is a pipe or a device; give a file")


def read_bytes(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a file that somebody else may have made.

    Raises InputError where it cannot be read, is no file, or has more than `most` bytes.
    """
    check_regular(path)
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{os.fspath(path)} cannot be read: {reason}") from error
    if len(content) > most:
        raise InputError(f"{os.fspath(path)} has more than {most:,} bytes, the most that is read")
    return content


def user_folder(variable: str, usual: str) -> Path:
    """As `tfedge.runtime.kept.user_folder`, in the home folder that the system knows where HOME names
    none; raises InputError where there is none at all."""
    if (found := kept.user_folder(variable, usual)) is not None:
        return found
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir, usual)
    except KeyError as error:
        raise InputError(
            f"there is no home folder, in which {usual} would be; set HOME or {variable} to an "
            "absolute path"
        ) from error


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raises InputError early where a folder, which need not exist yet, cannot be written into."""
    path = Path(folder)
    try:
        existing = next(place for place in (path, *path.parents) if place.exists())
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        reason = f"{error.strerror}; choose another folder"
        raise InputError(f"cannot write into {path}: {reason}") from error


@contextlib.contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """Yields an empty folder beside `place`, for what is to become it; it is removed at the end, and
    what a killed run has left of it before. Raises InputError where there cannot be one."""
    folder = place.with_name(f".{place.name}.unfinished")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    except OSError as error:
        reason = f"{error.strerror}; choose another folder"
        raise InputError(f"cannot write {place}: {reason}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace_folder(new: Path, place: Path) -> None:
    """Moves a folder to its place; what was there, if anything, is then where `new` was.

    At every moment one of both is in its place, where the file system can exchange two names, as
    Linux's own do.
    """
    if not place.exists():
        new.rename(place)
    elif not _exchange(new, place):
        aside = new.with_name(f".{new.name}.replaced")
        place.rename(aside)
        new.rename(place)
        aside.rename(new)


def _exchange(first: Path, second: Path) -> bool:
    """renameat2(2) with RENAME_EXCHANGE; whether it could be done."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    here, flags = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(first), here, os.fsencode(second), flags) == 0)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes `content` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Writes `content` to `path` as indented JSON, atomically."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    # The name of a file may be no UTF-8; "\udce9", which Python then has, is an escape of JSON too.
    write_bytes(path, text.encode(errors="backslashreplace"))


def read_cache(path: str | os.PathLike[str], key: Mapping[str, Any]) -> dict[str, Any]:
    """The `values` of a JSON file that were made for `key`; none where it is for another or damaged."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("key") != json.loads(json.dumps(key)):
        return {}
    values = content.get("values")
    return values if isinstance(values, dict) else {}


def sha256(path: str | os.PathLike[str]) -> str:
    """The hexadecimal SHA-256 of a file; raises InputError for a pipe or a device."""
    check_regular(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
