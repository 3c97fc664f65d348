"""A camera's frames from standard input, the newest of them: raw pixels, or JPEGs in a row."""

from __future__ import annotations

import dataclasses
import os
import re
import select
import stat
import threading
from collections.abc import Iterator
from typing import Union

import numpy as np

from tfedge.runtime.errors import OptionError, TextError
from tfedge.runtime.image_settings import MAX_SIDE
from tfedge.runtime.lines import Request
from tfedge.runtime.terminal import complain

JPEGS = "mjpeg"
_CHANNELS = {"rgb24": 3, "bgr24": 3, "gray": 1}  # by ffmpeg's names
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})(?::([a-z0-9]+))?")
_LARGEST = 64 << 20  # bytes of a JPEG
_CHUNK = 1 << 16
# Where one JPEG ends and the next begins; a thumbnail within has ends of its own, and no start behind.
_BETWEEN = re.compile(rb"\xff\xd9\x00*(?=\xff\xd8\xff)")
_OVERLAP = 1 << 12  # bytes of what may stand between two

Picture = Union[bytes, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Form:
    """What a stream of frames has. Raises OptionError for sizes that no model reads."""

    height: int = 0  # of raw frames, in pixels
    width: int = 0
    pixels: str = JPEGS  # `JPEGS`, or how a raw frame's pixels are laid out

    @classmethod
    def parse(cls, text: str) -> Form:
        """`mjpeg`, `WIDTHxHEIGHT` or `WIDTHxHEIGHT:PIXELS`; raises OptionError for anything else."""
        if text == JPEGS:
            return cls()
        found = _SIZE.fullmatch(text)
        pixels = found and (found[3] or "rgb24")
        if not found or pixels not in _CHANNELS:
            raise OptionError(
                f"--frames is {text!r}; give mjpeg, or WIDTHxHEIGHT of raw frames, with :"
                f"{', :'.join(_CHANNELS)} behind it where they are not rgb24"
            )
        width, height = int(found[1]), int(found[2])
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise OptionError(f"--frames is {text!r}; sides have 1 to {MAX_SIDE} pixels")
        return cls(height, width, pixels)

    @property
    def size(self) -> int:
        """Bytes of a raw frame."""
        return self.height * self.width * _CHANNELS[self.pixels]

    def picture(self, content: bytes) -> Picture:
        """What an `ImageEncoder` reads of one frame's bytes."""
        if self.pixels == JPEGS:
            return content
        channels = _CHANNELS[self.pixels]
        frame = np.frombuffer(content, np.uint8).reshape(self.height, self.width, channels)
        if self.pixels == "gray":
            return np.repeat(frame, 3, axis=2)
        return frame[..., ::-1] if self.pixels == "bgr24" else frame


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame: its number in the stream, from 1 on, and how many before it were let go."""

    number: int
    dropped: int
    content: bytes
    error: str | None = None  # why there is none


class Newest:
    """Where one thread leaves frames and another takes the newest."""

    def __init__(self, keeps_all: bool) -> None:
        self._keeps_all = keeps_all
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._number = 0
        self._ended = False

    def put(self, content: bytes, error: str | None = None) -> None:
        """Leaves a frame in the place of one that nobody has taken; an error, and whatever comes from
        a file, waits until it is taken."""
        with self._changed:
            while (self._keeps_all or error) and self._frame is not None and not self._ended:
                self._changed.wait()
            self._number += 1
            waiting = self._frame
            dropped = 0 if waiting is None else waiting.dropped + 1
            self._frame = Frame(self._number, dropped, content, error)
            self._changed.notify_all()

    def end(self) -> None:
        """Says that no frame will come, or be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take(self) -> Frame | None:
        """The newest frame, once there is one; None after the last."""
        with self._changed:
            while self._frame is None and not self._ended:
                self._changed.wait()
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            return frame


def read_frames(source: int, stop: int, form: Form) -> Iterator[Frame]:
    """The frames of a file descriptor, always the newest: those that came while one was answered are
    dropped and counted. Of a regular file, which keeps them, none is.

    Ends at the end of the file, or once `stop` is readable. Raises TextError where the descriptor
    cannot be read; a frame that is cut short by the end has an error.
    """
    newest = Newest(keeps_all=stat.S_ISREG(os.fstat(source).st_mode))
    failed: list[OSError] = []

    def read() -> None:
        try:
            for content, error in _split(_chunks(source, stop), form):
                newest.put(content, error)
        except OSError as error:
            failed.append(error)
        finally:
            newest.end()

    threading.Thread(target=read, daemon=True).start()
    try:
        while (frame := newest.take()) is not None:
            yield frame
    finally:
        newest.end()
    if failed:
        raise TextError(f"standard input cannot be read: {failed[0].strerror}") from failed[0]


def requests(source: int, stop: int, form: Form) -> Iterator[Request]:
    """What `read_frames` gives, to be answered: with `frame`, its number, and `dropped`, how many were
    since the one before it. A line at the end tells how many in all."""
    number = dropped = 0
    for frame in read_frames(source, stop, form):
        number, dropped = frame.number, dropped + frame.dropped
        picture = None if frame.error else form.picture(frame.content)
        rest = {"frame": frame.number, "dropped": frame.dropped}
        yield Request("", error=frame.error, rest=rest, picture=picture)
    if dropped:
        complain(f"{dropped} of {number} frames were dropped, as newer ones came before an answer")


def _chunks(source: int, stop: int) -> Iterator[bytes]:
    while stop not in select.select([source, stop], [], [])[0]:
        chunk = os.read(source, _CHUNK)
        if not chunk:
            return
        yield chunk


def _split(chunks: Iterator[bytes], form: Form) -> Iterator[tuple[bytes, str | None]]:
    """The bytes of each frame, or why there are none."""
    return _jpegs(chunks) if form.pixels == JPEGS else _raw(chunks, form.size)


def _raw(chunks: Iterator[bytes], size: int) -> Iterator[tuple[bytes, str | None]]:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= size:
            yield bytes(held[:size]), None
            del held[:size]
    if held:
        yield b"", f"the last frame has {len(held)} of {size} bytes; is --frames its size?"


def _jpegs(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, str | None]]:
    """A JPEG at a time, known to be whole once the next one begins."""
    held, found = bytearray(), 0
    for chunk in chunks:
        found = max(0, len(held) - _OVERLAP)
        held += chunk
        while between := _BETWEEN.search(held, found):
            end, found = between.end(), 0
            yield bytes(held[:end]), None
            del held[:end]
        if len(held) > _LARGEST:
            yield b"", f"more than {_LARGEST} bytes without the end of a JPEG; is it mjpeg?"
            held.clear()
    if held:
        yield bytes(held), None
