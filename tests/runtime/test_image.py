"""Files of images: what is read, and what is refused in one line that names the file."""

from __future__ import annotations

import os
import struct
import subprocess
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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_upright_as_pillow_turns_it(tmp_path: Path, suffix: str, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    settings = ImageSettings(24, 24, (24,), "bilinear", (0.0,) * 3, (1.0,) * 3)
    path = save(tmp_path / f"a.{suffix}", toy_images.draw("blob", 3, 30, 47), exif=exif)
    upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    assert np.array_equal(read_pixels(path, settings), read_pixels(np.asarray(upright), settings))


def other_modes(folder: Path) -> dict[str, str]:
    """Files by what is in them, which transformers' `load_image` would `convert("RGB")`."""
    made = Image.fromarray(PIXELS)
    deep = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
    pictures = {
        "one-bit.png": made.convert("1"),
        "grey-alpha.png": made.convert("LA"),
        "alpha.png": made.convert("RGBA"),
        "palette.gif": made.convert("P"),
        "16-bit.png": deep,
        "16-bit.ppm": deep,
        "cmyk.jpg": made.convert("CMYK"),
        "grey.jpg": made.convert("L"),
    }
    for name, picture in pictures.items():
        picture.save(folder / name)
    made.convert("P").save(folder / "holes.png", transparency=3)
    return {name: str(folder / name) for name in (*pictures, "holes.png")}


def test_what_is_no_rgb_becomes_it_as_in_transformers(tmp_path: Path) -> None:
    modes = set()
    for name, path in other_modes(tmp_path).items():
        with Image.open(path) as opened:
            modes.add(opened.mode)
            expected = np.asarray(opened.convert("RGB"))
        assert np.array_equal(read_pixels(path, SETTINGS), expected), name
        assert np.array_equal(read_pixels(Path(path).read_bytes(), SETTINGS), expected), name
    assert modes >= {"1", "LA", "RGBA", "P", "CMYK", "L"}


@pytest.mark.parametrize(("height", "width"), [(1704, 2560), (1708, 2562), (2560, 1704)])
@pytest.mark.parametrize("resize", [(24, 24), (48,)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_small_and_stays_within_one(
    tmp_path: Path, height: int, width: int, resize: tuple[int, ...], orientation: int
) -> None:
    """Sides that 2 does not divide twice are halved once at most."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = toy_images.draw("blob", 1, height, width)
    path = save(tmp_path / "a.jpg", pixels, quality=90, exif=exif)
    with Image.open(path) as opened:
        whole = np.asarray(opened.convert("RGB"))
    whole = np.rot90(whole, -1) if orientation == 6 else whole
    settings = ImageSettings(24, 24, resize, "bicubic", (0.0,) * 3, (1.0,) * 3)
    expected = read_pixels(np.ascontiguousarray(whole), settings).astype(int)
    assert np.abs(read_pixels(path, settings) - expected).max() <= 1


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


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of chunks, in colour."""

    def packed(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed(*part) for part in parts)


def claims(good: bytes, kind: bytes, width: int, height: int) -> bytes:
    """A small JPEG with other sides in the header of its frame, 0xFFC0 or that of a progressive one."""
    start = good.index(kind)
    return good[: start + 5] + struct.pack(">HH", height, width) + good[start + 9 :]


def bombs(folder: Path) -> dict[str, bytes]:
    """Small files that claim many pixels, or have much beside them; each decodes, or would."""
    small = {
        name: Path(save(folder / f"small.{name}", **options)).read_bytes()
        for name, options in (("jpg", {"progressive": True, "subsampling": 0}), ("webp", {}))
    }
    side = 9400  # below the 89 million pixels of which Pillow warns
    bmp = struct.pack("<IHHIIiiHHIIiiII", 900, 0, 0, 54, 40, side, -side, 1, 24, *[0] * 6)
    gif = b"GIF89a" + struct.pack("<HHBBB", side, side, 128, 0, 0) + bytes(6)
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + b"\xff" * 6
    found = small["webp"].index(b"\x9d\x01\x2a") + 3
    webp = small["webp"][:found] + struct.pack("<HH", side, side) + small["webp"][found + 4 :]
    exif = b"\xff\xe1" + struct.pack(">H", 60_000) + b"Exif\0\0" + bytes(59_992)
    return {
        "a.png": png(50_000, 50_000, (b"IDAT", zlib.compress(bytes(1000)))),
        "b.png": png(side, side, (b"IDAT", zlib.compress(bytes(side * (3 * side + 1))))),
        "row.png": png(1, 20_000_000, (b"IDAT", zlib.compress(bytes(20_000_000 * 4)))),
        "chunks.png": png(8, 8, *[(b"tEXt", b"a\0b")] * 100_000),
        "text.png": png(8, 8, (b"zTXt", b"a\0\0" + zlib.compress(bytes(200 << 20)))),
        "a.jpg": claims(small["jpg"], b"\xff\xc2", 50_000, 50_000),
        "b.jpg": claims(small["jpg"], b"\xff\xc2", side, side),
        "c.jpg": claims(small["jpg"], b"\xff\xc2", 5000, 5000),
        "exif.jpg": small["jpg"][:2] + exif * 200 + small["jpg"][2:],
        "a.bmp": b"BM" + bmp + bytes(900),
        "a.gif": gif + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0;",
        "a.webp": webp,
        "canvas.webp": b"RIFF" + struct.pack("<I", 4 + len(canvas)) + b"WEBP" + canvas,
        "a.ppm": b"P6\n%d %d\n255\n" % (side, side) + bytes(900),
        "plain.ppm": b"P3\n50000 50000\n255\n" + b"1 " * 900,
        "comment.ppm": b"P6\n#" + b"x" * (20 << 20),
    }


REFUSES = """
import resource, sys
import PIL.Image
from tfedge.runtime.errors import ImageError
from tfedge.runtime.image import read_pixels
from tfedge.runtime.image_settings import ImageSettings
PIL.Image.init()
try:
    read_pixels(sys.argv[1], ImageSettings(24, 24, (24, 24), "bilinear", (0.0,) * 3, (1.0,) * 3))
except ImageError as error:
    print(error)
used = resource.getrusage(resource.RUSAGE_SELF)
# Of getrusage the most memory is that of whoever started this, where that has more.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024, used.ru_utime + used.ru_stime)
"""


def test_small_files_take_little(tmp_path: Path) -> None:
    """Where a GIF of 35 bytes once took 450 MB, and a PNG of 350 KB 3 GB."""
    for name, content in bombs(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        done = subprocess.run(
            [sys.executable, "-c", REFUSES, tmp_path / name],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
        )
        message, used = done.stdout.splitlines()
        assert message.startswith(f"{tmp_path / name}: "), message
        megabytes, seconds = map(float, used.split())
        assert megabytes < 150, (name, megabytes)
        assert seconds < 5, (name, seconds)


def test_large_images_that_are_read(tmp_path: Path) -> None:
    """A camera's 12 megapixels, though of one colour; of more where their file is as large."""
    for name, side in (("a.jpg", 3504), ("a.png", 3500), ("a.webp", 2500)):
        path = save(tmp_path / name, np.zeros((side, side, 3), np.uint8))
        resized = ImageSettings(24, 24, (24, 24), "bilinear", (0.0,) * 3, (1.0,) * 3)
        assert not read_pixels(path, resized).any()
    large = tmp_path / "large.png"
    large.write_bytes(png(4500, 4500, (b"IDAT", zlib.compress(bytes(4500 * (3 * 4500 + 1)), 0))))
    assert not read_pixels(str(large), resized).any()


def test_settings_that_ask_for_much(tmp_path: Path) -> None:
    settings = ImageSettings(4096, 4096, (4096,), "bilinear", (0.0,) * 3, (1.0,) * 3)
    path = save(tmp_path / "a.png", np.zeros((10, 600, 3), np.uint8))
    with pytest.raises(
        ImageError, match="would become one of 4096 x 245760, and 83886080 pixels are all"
    ):
        read_pixels(path, settings)


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
    for name, side in (("bomb.png", 12_000), ("large-bomb.png", 60_000)):
        (folder / name).write_bytes(png(side, side, (b"IDAT", zlib.compress(bytes(1000)))))
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
    for nothing in (None, 3, b"a.png", b"", "a\0b.png"):
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


@pytest.mark.parametrize("kind", ["P1", "P2", "P3"])
def test_comments_without_end(tmp_path: Path, kind: str) -> None:
    """3 MB of them took 20 s of the processor."""
    path = tmp_path / "a.ppm"
    most = "" if kind == "P1" else "1\n"
    for comments in (3, 1 << 20):
        path.write_text(f"{kind}\n2 2\n{most}" + "1 0 1\n" * 4 + "#a\n" * comments)
        if comments == 3:
            assert read_pixels(str(path), SETTINGS).shape == (24, 24, 3)
            continue
        with pytest.raises(ImageError, match="1048576 comments among its pixels"):
            read_pixels(str(path), SETTINGS)


def test_scans_without_end(tmp_path: Path) -> None:
    """Each of 31 bytes took a sixtieth of a second of a picture of 4000 pixels on a side."""
    path = save(tmp_path / "a.jpg", np.full((64, 64, 3), 128, np.uint8), progressive=True)
    content = Path(path).read_bytes()
    scan = content[content.rindex(b"\xff\xda") : -2]
    for times in (50, 2000):
        Path(path).write_bytes(content[:-2] + scan * times + content[-2:])
        if times == 50:
            assert read_pixels(path, SETTINGS).shape == (24, 24, 3)
            continue
        with pytest.raises(ImageError, match="a photo at most 100; save it again"):
            read_pixels(path, SETTINGS)
