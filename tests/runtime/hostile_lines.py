"""Lines of a stream as a fault, a joke or an attack would send them, among those that have texts."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfedge.runtime.lines import MAX_LINE_BYTES

HUGE_EVERY = 1000  # hostile lines, of which the 40th has more bytes than a line may have


class Line:
    """A line of JSON, or bytes that are none, and what answers it.

    Attributes:
        text: what has to come back with an answer; None where an error will do.
    """

    __slots__ = ("_id", "sent", "text")

    def __init__(self, content: Mapping[str, Any] | bytes, is_hostile: bool = False) -> None:
        if isinstance(content, bytes):
            self.sent, self._id, self.text = content, None, None
        else:
            self.sent, self._id = json.dumps(content).encode(), content["id"]
            self.text = None if is_hostile else content["text"]

    def is_answered_by(self, answer: bytes) -> bool:
        """Whether it answers this line: with its id and text, or by an error where that will do."""
        try:
            found = json.loads(answer)
        except ValueError:
            return False
        if not isinstance(found, dict) or found.get("id") != self._id:
            return False
        if self.text is None:
            return "error" in found or "label" in found
        return found.get("text") == self.text and "error" not in found


@dataclasses.dataclass(frozen=True)
class Kind:
    """A way to be hostile: what is sent as line `number`."""

    make: Callable[[int], Mapping[str, Any] | bytes]


def _text(text: object) -> Kind:
    return Kind(lambda number: {"id": number, "text": text})


def _raw(content: bytes) -> Kind:
    return Kind(lambda number: content)


@functools.cache
def _huge() -> bytes:
    return b'{"text": "' + b"a" * MAX_LINE_BYTES + b'"}'


KINDS = (
    _raw(b""),
    _raw(b"\xff\xfe\x00"),
    _raw(b'{"text": "good'),
    _raw(b"[" * 100_000),
    _raw(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    _raw(b"9" * 100_000),
    _raw(b"null"),
    _raw(b'{"text": 1e999}'),
    _raw(b'{"text": "\\ud800"}'),
    _text(""),
    _text(" \t\u2028\x00"),
    _text("\x1b[2J\x07\u202e good"),
    _text(["good"] * 1000),
    _text({"text": "good"}),
    _text("good " * 20_000),
    _text("x" * 200_000),
    _text("\u0301" * 50_000),
    _text("漢字" * 20_000),
    Kind(lambda number: {"id": number, "text": "good", "error": "no", "label": "mine"}),
    Kind(lambda number: {"id": number}),
)


def hostile(number: int, turn: int) -> Line:
    """Line `number`, of one kind after the other; `turn` counts them."""
    if turn % HUGE_EVERY == 40:
        return Line(_huge(), is_hostile=True)
    return Line(KINDS[turn % len(KINDS)].make(number), is_hostile=True)


def spread(lines: Sequence[Line], every: int) -> list[Line]:
    """The lines, every `every`-th of them a hostile one in its place; 0: none."""
    if not every:
        return list(lines)
    return [
        hostile(number, number // every) if number % every == every - 1 else line
        for number, line in enumerate(lines)
    ]
