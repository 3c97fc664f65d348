"""Settings as TOML: the named ones that come with a package, and files of a user's own."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from tfedge import files
from tfedge.errors import InputError
from tfedge.records import read_record

_SUFFIX = ".toml"
_LARGEST_FILE_BYTES, _MOST_SQUARED_DOTS = 1 << 20, 1_000_000
_DEEPEST, _MOST_BITS = 16, 63  # of tables in each other; of a number, its sign apart
_Kind = TypeVar("_Kind")


def setting_names(package: str) -> list[str]:
    """The names of all settings that come with a package, one file each."""
    return sorted(
        file.name.removesuffix(_SUFFIX)
        for file in resources.files(package).iterdir()
        if file.name.endswith(_SUFFIX)
    )


def load_named(package: str, kind: type[_Kind], name: str) -> _Kind:
    """The settings called `name` in a package, which holds settings of a `kind`; raises InputError
    where there are none of that name; the message lists those there are."""
    names = setting_names(package)
    if name not in names:
        near = difflib.get_close_matches(name.lower(), names, n=1)
        meant = f", did you mean {near[0]}?" if near else ";"
        raise InputError(
            f"unknown {kind.__name__.lower()} {name!r}{meant} known are {', '.join(names)}"
        )
    path = resources.files(package) / f"{name}{_SUFFIX}"
    content = {"name": name, **tomllib.loads(path.read_text(encoding="utf-8"))}
    return read_record(content, kind, str(path), "tfedge")


def read_settings(path: str | Path) -> dict[str, Any]:
    """The tables and values of a user's TOML file, in the order in which they stand there; raises
    InputError where the file is missing, too large for settings, or no TOML."""
    content = files.read_bytes(path, _LARGEST_FILE_BYTES)
    # tomllib keeps every beginning of a dotted key, so that long ones take the square of their length.
    if sum(line.count(b".") ** 2 for line in content.splitlines()) > _MOST_SQUARED_DOTS:
        raise InputError(
            f"{path} has lines of too many dots for settings; give tables in place of dotted keys, and "
            "texts in files of their own"
        )
    try:
        found = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, or nested without end
        raise InputError(f"{path} is not TOML: {error}") from error
    _refuse_odd(found, str(path))
    return found


def parse_setting(text: str) -> tuple[str, Any]:
    """`KEY=VALUE` of a command line; the value as in TOML, or a string as it is. Raises InputError
    where there is no `=`, or nothing before it."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"{text!r} sets nothing; give KEY=VALUE")
    return key.strip(), parse_value(value)


def parse_value(text: str) -> Any:
    """A value as in TOML, or the text as it is; raises InputError for what no setting has."""
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        found = {}
    _refuse_odd(found, text)
    return found["value"] if len(found) == 1 else text


def _refuse_odd(value: Any, where: str, depth: int = 0) -> None:
    """Raises InputError for what no setting has, though TOML or its reader lets it be: a string with
    the character 0, which no file's name and no argument has, a number that is not of 64 bits, which
    could not even be shown, and tables in tables without end."""
    if isinstance(value, (Mapping, list)):
        if depth == _DEEPEST:
            raise InputError(f"{where} has more than {_DEEPEST} tables or lists in each other")
        for item in value.values() if isinstance(value, Mapping) else value:
            _refuse_odd(item, where, depth + 1)
    elif isinstance(value, str) and "\0" in value:
        raise InputError(f"{where} has the character \\u0000 in {value!r}; take it out")
    elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise InputError(
            f"{where} has a number of {value.bit_length()} bits; {_MOST_BITS} are allowed"
        )


def check_keys(given: Iterable[str], allowed: Iterable[str], where: str) -> None:
    """Raises InputError for the first key that is not allowed, naming the nearest that is."""
    known = sorted(allowed)
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
            meant = f", perhaps {near[0]!r} is meant" if near else ""
            raise InputError(f"{where}: unknown {key!r}{meant}; known are {', '.join(known)}")
