"""Files of images: what is read, and what is refused in one line that names the file."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_images

from tfedge.runtime.errors import BackendError, ImageError
from tfedge.runtime.image import ImageEncoder, read_pixels
from tfedge.runtime.image_settings import ImageSettings

Image = pytest.importorskip("PIL.Image")
SETTINGS = ImageSettings(24, 24, None, "bilinear", (0.0,) * 3, (1.0,) * 3)
PIXELS = toy_images.draw("blob", 0)


def save(path: Path, pixels: np.ndarray = PIXELS, mode: str = "RGB", **options: Any) -> str:
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return str(path)


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "webp"])
def test_formats_without_loss(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(read_pixels(path, SETTINGS), PIXELS)


def test_jpeg_and_modes(tmp_path: Path) -> None:
    jpeg = read_pixels(save(tmp_path / "a.jpg", quality=95), SETTINGS).astype(int)
    assert np.abs(jpeg - PIXELS).mean() < 12
    grey = read_pixels(save(tmp_path / "a.png", mode="L"), SETTINGS)
    assert (grey == grey[..., :1]).all()
    assert np.array_equal(read_pixels(save(tmp_path / "b.png", mode="RGBA"), SETTINGS), PIXELS)
    assert read_pixels(save(tmp_path / "c.png", mode="P"), SETTINGS).shape == (24, 24, 3)


def test_as_the_camera_was_held(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    path = save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_pixels(path, SETTINGS), np.rot90(PIXELS, -1))


def test_pixels_in_place_of_a_file() -> None:
    encoded = ImageEncoder(SETTINGS, tokens=10).encode(PIXELS)
    assert len(encoded) == 10
    assert np.array_equal(encoded.arrays(10)["pixel_values"], PIXELS[np.newaxis])
    resized = ImageSettings(24, 24, (24, 24), "bilinear", (0.0,) * 3, (1.0,) * 3)
    large = toy_images.draw("blob", 0, 48, 60)
    assert read_pixels(large, resized).shape == (24, 24, 3)
    for wrong in (PIXELS.astype(np.float32), PIXELS[..., 0], PIXELS[..., :2]):
        with pytest.raises(ImageError, match="is not an image: give uint8"):
            read_pixels(wrong, SETTINGS)


def bomb(path: Path, side: int) -> None:
    """A PNG of a few bytes that claims `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))


def bad_files(folder: Path) -> dict[str, str]:
    """Name of a file -> what is said of it."""
    good = Path(save(folder / "good.png")).read_bytes()
    jpeg = Path(save(folder / "good.jpg")).read_bytes()
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "turned.png").write_bytes(good[:60] + bytes(40) + good[100:])
    (folder / "text.jpg").write_text("no photo")
    (folder / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (folder / "empty.png").touch()
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    bomb(folder / "bomb.png", 12_000)
    bomb(folder / "large-bomb.png", 60_000)
    return {
        "cut.png": "a damaged or unreadable image",
        "cut.jpg": "a damaged or unreadable image",
        "turned.png": "a damaged or unreadable image",
        "text.jpg": "not an image; JPEG, PNG",
        "page.eps": "not an image",
        "empty.png": "not an image",
        "folder.png": "not a file",
        "pipe.png": "not a file",
        "missing.png": "no such file",
        "bomb.png": "claims more than",
        "large-bomb.png": "claims more than",
    }


def test_bad_files_are_named_in_a_line(tmp_path: Path) -> None:
    for name, reason in bad_files(tmp_path).items():
        with pytest.raises(ImageError) as caught:
            read_pixels(str(tmp_path / name), SETTINGS)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / name}: {reason}"), message
        assert len(message.splitlines()) == 1
    for nothing in (None, 3, b"a.png", "a\0b.png"):
        with pytest.raises(ImageError):
            read_pixels(nothing, SETTINGS)  # type: ignore[arg-type]


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(BackendError, match="`pip install pillow`"):
        read_pixels(path, SETTINGS)
    assert np.array_equal(read_pixels(PIXELS, SETTINGS), PIXELS)  # which needs none


def test_a_strip_takes_no_memory(tmp_path: Path) -> None:
    settings = ImageSettings(24, 24, (24,), "bilinear", (0.0,) * 3, (1.0,) * 3)
    path = save(tmp_path / "a.png", np.zeros((1, 60_000, 3), np.uint8))
    assert read_pixels(path, settings).shape == (24, 24, 3)
