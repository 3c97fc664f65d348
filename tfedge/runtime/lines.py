"""Texts, or paths of images, from standard input: bytes that come when they like, in, requests out."""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import os
import select
import signal
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tfedge.runtime.errors import TextError

if TYPE_CHECKING:
    from tfedge.runtime.inputs import Line

MAX_LINE_BYTES = 8 << 20  # 100,000 words have about 1 MB
_SHOWN_BYTES = 1 << 20
_CHUNK = 1 << 16


@dataclasses.dataclass(frozen=True)
class Request:
    """One thing to answer: a text (or question, or image) and its context or second text, or why it
    could not be read; `rest` comes back with the answer."""

    text: str
    context: str | None = None
    error: str | None = None
    rest: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    picture: Any = None  # in the place of a path: bytes of a file, or pixels

    @property
    def item(self) -> Any:
        """What a pipeline is asked."""
        if self.picture is not None:
            return self.picture
        return self.text if self.context is None else (self.text, self.context)


@contextlib.contextmanager
def stop_signal() -> Iterator[int]:
    """Turns SIGTERM into a file descriptor that becomes readable, for `read_lines`."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    # A pipe instead of an exception: none can then hit the moment between reading and answering.
    previous = signal.signal(signal.SIGTERM, lambda *_: os.write(write_end, b"\0"))
    try:
        yield read_end
    finally:
        signal.signal(signal.SIGTERM, previous)
        os.close(read_end)
        os.close(write_end)


def read_lines(source: int, stop: int) -> Iterator[bytes | None]:
    """The lines of a file descriptor without their ends, each as soon as it is complete.

    Ends at the end of the file, or after the lines already read once `stop` is readable (of a regular
    file, which keeps them, after the one that is being answered); an incomplete last line counts in
    the first case only. Raises TextError where the descriptor cannot
    be read.

    Yields:
        A line, or None for one longer than `MAX_LINE_BYTES`, of which nothing is kept.
    """
    line: bytearray | None = bytearray()
    keeps = stat.S_ISREG(os.fstat(source).st_mode)
    while stop not in select.select([source, stop], [], [])[0]:
        try:
            chunk = os.read(source, _CHUNK)
        except OSError as error:
            raise TextError(f"standard input cannot be read: {error.strerror}") from error
        if not chunk:
            if line is None or line:
                yield _finished(line)
            return
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield _finished(_extended(line, end))
            line = bytearray()
            if keeps and select.select([stop], [], [], 0)[0]:
                return
        line = _extended(line, rest)


def _extended(line: bytearray | None, part: bytes) -> bytearray | None:
    if line is None or len(line) + len(part) > MAX_LINE_BYTES:
        return None
    line += part
    return line


def _finished(line: bytearray | None) -> bytes | None:
    return None if line is None else bytes(line).removesuffix(b"\r")


def parse_lines(
    lines: Iterable[bytes | None], parse: Callable[[str, str | None], Line], context: str | None
) -> Iterator[Request]:
    """One request for each line that `read_lines` gives, of which `parse` makes text and context;
    `context` is of lines that bring none."""
    for number, line in enumerate(lines):
        if line is None:
            yield Request("", error=f"the line is longer than {MAX_LINE_BYTES} bytes")
            continue
        if number == 0:
            line = line.removeprefix(codecs.BOM_UTF8)
        try:
            asked = parse(line.decode(), context)
            yield Request(asked.text, asked.context, rest=asked.rest)
        except UnicodeDecodeError:
            yield Request(_shown(line), error="the line is not valid UTF-8")
        except TextError as error:
            yield Request(_shown(line), error=str(error), rest=getattr(error, "rest", {}))


def _shown(line: bytes) -> str:
    """What comes back of a line that asks nothing: as JSON, all of 8 MB would take ten times that."""
    return line[:_SHOWN_BYTES].decode(errors="replace")
