"""Lines of a file descriptor."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge.runtime import lines
from tfedge.runtime.errors import TextError
from tfedge.runtime.lines import read_lines, stop_signal


def read_all(chunks: list[bytes]) -> list[bytes | None]:
    """What `read_lines` makes of bytes that come in these chunks."""
    source, sink = os.pipe()

    def write() -> None:
        for chunk in chunks:
            os.write(sink, chunk)
        os.close(sink)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with stop_signal() as stop:
            return list(read_lines(source, stop))
    finally:
        writer.join()
        os.close(source)


CHUNKS = st.lists(st.binary() | st.sampled_from([b"\n", b"\r\n", b"a\nb"]))


@settings(deadline=None)
@given(chunks=CHUNKS)
def test_chunks_do_not_matter(chunks: list[bytes]) -> None:
    content = b"".join(chunks)
    expected = content.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert read_all(chunks) == [line.removesuffix(b"\r") for line in expected]


def test_long_lines_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 4)
    assert read_all([b"1234\n12345\n12", b"34", b"5\n1\n", b"12345"]) == [
        *(b"1234", None, None, b"1", None)
    ]


def test_what_cannot_be_read() -> None:
    source = os.open(Path(__file__).parent, os.O_RDONLY)
    try:
        with stop_signal() as stop, pytest.raises(TextError, match="cannot be read"):
            list(read_lines(source, stop))
    finally:
        os.close(source)
