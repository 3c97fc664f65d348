"""A camera on standard input: which frames are answered, and what is said of the others."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import toy_images

from tfedge.runtime.errors import OptionError
from tfedge.runtime.frames import Form, Frame, Newest, read_frames

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def stop() -> Iterator[int]:
    read_end, write_end = os.pipe()
    yield read_end
    os.close(read_end)
    os.close(write_end)


def picture(seed: int, height: int = 6, width: int = 8) -> np.ndarray:
    return toy_images.draw("blob", seed, height, width)


def jpeg(seed: int, thumbnail: bool = False) -> bytes:
    target, options = io.BytesIO(), {}
    if thumbnail:
        exif = Image.Exif()
        exif[0x9286] = jpeg(seed)  # a comment, with the start and the end of a JPEG
        options["exif"] = exif
    Image.fromarray(picture(seed)).save(target, "JPEG", **options)
    return target.getvalue()


def frames_of(path: Path, content: bytes, stop: int, form: str) -> list[Frame]:
    path.write_bytes(content)
    with path.open("rb") as file:
        return list(read_frames(file.fileno(), stop, Form.parse(form)))


@pytest.mark.parametrize("pixels", ["rgb24", "bgr24", "gray"])
def test_raw_frames_of_a_file_are_all_there(tmp_path: Path, stop: int, pixels: str) -> None:
    pictures = [picture(seed) for seed in range(3)]
    if pixels == "gray":
        pictures = [np.repeat(each[..., :1], 3, axis=2) for each in pictures]
    stored = [
        {"rgb24": each, "bgr24": each[..., ::-1], "gray": each[..., 0]}[pixels].tobytes()
        for each in pictures
    ]
    form = Form.parse("8x6" if pixels == "rgb24" else f"8x6:{pixels}")
    found = frames_of(tmp_path / "a.raw", b"".join(stored), stop, f"8x6:{pixels}")
    assert [(frame.number, frame.dropped) for frame in found] == [(1, 0), (2, 0), (3, 0)]
    for frame, expected in zip(found, pictures, strict=True):
        assert np.array_equal(form.picture(frame.content), expected)


def test_a_frame_that_is_cut_short_is_told_behind_the_others(tmp_path: Path, stop: int) -> None:
    content = picture(0).tobytes() + b"abc"
    whole, cut = frames_of(tmp_path / "a.raw", content, stop, "8x6")
    assert whole.error is None
    assert cut.error == "the last frame has 3 of 144 bytes; is --frames its size?"


def test_jpegs_in_a_row_with_thumbnails_and_padding(tmp_path: Path, stop: int) -> None:
    stored = [jpeg(0), jpeg(1, thumbnail=True) + bytes(3), jpeg(2)]
    found = frames_of(tmp_path / "a.mjpeg", b"".join(stored), stop, "mjpeg")
    assert [frame.content for frame in found] == stored


def test_of_a_pipe_the_newest_is_answered_and_the_others_are_counted(stop: int) -> None:
    read_end, write_end = os.pipe()
    contents = [bytes([seed]) * 144 for seed in range(7)]
    os.write(write_end, contents[0])
    found = read_frames(read_end, stop, Form.parse("8x6"))
    first = next(found)
    os.write(write_end, b"".join(contents[1:]))
    os.close(write_end)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(10)
    others = list(found)
    os.close(read_end)
    assert (first.number, first.dropped, first.content) == (1, 0, contents[0])
    assert [(f.number, f.dropped, f.content) for f in others] == [(7, 5, contents[6])]


def test_an_error_takes_the_place_of_no_frame() -> None:
    newest = Newest(keeps_all=False)
    newest.put(b"a")
    waiting = threading.Thread(target=newest.put, args=(b"", "cut short"))
    waiting.start()
    assert newest.take() == Frame(1, 0, b"a")
    assert newest.take() == Frame(2, 0, b"", "cut short")
    waiting.join(10)
    newest.end()
    assert newest.take() is None


def test_it_ends_when_it_is_told_to() -> None:
    read_end, write_end = os.pipe()
    stop_read, stop_write = os.pipe()
    os.write(stop_write, b"\0")
    assert list(read_frames(read_end, stop_read, Form.parse("8x6"))) == []
    for end in (read_end, write_end, stop_read, stop_write):
        os.close(end)


@pytest.mark.parametrize(
    "text", ["", "8", "8x", "x6", "8x6:yuv420", "0x6", "8x5000", "jpeg", "-8x6"]
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"--frames is"):
        Form.parse(text)
