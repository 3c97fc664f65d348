"""What the agent of a board says, checked before it is believed: a board may be anybody's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tfedge.boards.errors import BoardError

_GLIBC = re.compile(r"\d{1,3}\.\d{1,3}")
_LARGEST = 1 << 63  # bytes of a file
_MARKERS = {"implementation_name", "os_name", "platform_machine", "platform_release"}
_MARKERS |= {"platform_python_implementation", "platform_system", "platform_version"}
_VERSIONS = ("implementation_version", "python_full_version", "python_version")
_PYTHON = re.compile(r"\d{1,3}\.\d{1,3}[\w.+]{0,32}")
_MACHINE = re.compile(r"\w{1,32}")
Check = Callable[[Any], bool]


def _is(kind: type) -> Check:
    return lambda value: isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _matches(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def _is_model(value: Any) -> bool:
    """A row of a list of models; of a file that has not been read there is no hash."""
    return (
        isinstance(value, dict)
        and _is(str)(value.get("name"))
        and _is(int)(value.get("size"))
        and 0 <= value["size"] < _LARGEST
        and isinstance(value.get("sha256"), (str, type(None)))
    )


def _is_libc(value: Any) -> bool:
    is_pair = _list_of(_is(str))(value) and len(value) == 2
    return is_pair and (value[0] != "glibc" or bool(_GLIBC.fullmatch(value[1])))


def _are_markers(value: Any) -> bool:
    """What `packaging` evaluates: of its names none may lack, and some are versions."""
    return (
        isinstance(value, dict)
        and all(map(_is(str), value.values()))
        and value.keys() >= _MARKERS
        and all(_PYTHON.fullmatch(value[name]) for name in _VERSIONS)
    )


# The keys that are read, and what may be there.
_KEYS: Mapping[str, Check] = {
    "error": _is(str),
    "message": _is(str),
    "models": _list_of(_is_model),
    "paths": _list_of(_is(str)),
    "removed": _list_of(_is(str)),
    "missing": _list_of(_is(int)),
    "installed": _is(bool),
    "changed": _is(bool),
    "folder": _is(str),
    "note": lambda value: isinstance(value, (str, type(None))),
    "machine": _matches(_MACHINE),
    "libc": _is_libc,
    "markers": _are_markers,
    "python": _is(str),
    "program": _is(str),
    "packages": _list_of(_is(str)),
    "runtimes": _list_of(_is(str)),
    "tfedge": lambda value: isinstance(value, (str, type(None))),
}


class Answer(dict[str, Any]):
    """An object that a board answers. A key that is not there raises BoardError."""

    def __init__(self, board: str, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.board = board

    def __missing__(self, key: str) -> Any:
        raise _refused(self.board, f"without {key!r}")


def read_answer(board: str, line: bytes) -> Answer:
    """The answer in a line of JSON; raises BoardError where it is none, or a value is of another
    kind."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _refused(board, "that is no JSON") from error
    if not isinstance(content, dict):
        raise _refused(board, "that is no object")
    for key, check in _KEYS.items():
        if key in content and not check(content[key]):
            raise _refused(board, f"whose {key!r} is {content[key]!r:.60}")
    return Answer(board, content)


def places_in(answer: Answer, key: str, count: int) -> list[int]:
    """The numbers of `count` things from 0 that an answer names; raises BoardError for others."""
    found: list[int] = answer[key]
    if not all(0 <= number < count for number in found):
        raise _refused(answer.board, f"whose {key!r} is {found!r:.60}")
    return found


def _refused(board: str, what: str) -> BoardError:
    return BoardError(
        f"{board}: it gives an answer {what}, which tfedge's own program there does not; look at what "
        "is started there (python in boards.toml)"
    )
