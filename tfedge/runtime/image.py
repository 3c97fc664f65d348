"""Image in, the model's input array out; files are read by Pillow, of which nothing else is needed."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import stat
import sys
import warnings
from typing import Any, Union

import numpy as np

from tfedge.runtime.errors import BackendError, ImageError, one_line
from tfedge.runtime.image_settings import ImageSettings

# What is read; other formats of Pillow start programs (EPS) or are nobody's photos.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM")
NEEDS_PILLOW = "Pillow, which reads images, is not installed: `pip install pillow`"

# A file, what is in one, or uint8 (height, width, 3), RGB.
Picture = Union[str, "os.PathLike[str]", bytes, np.ndarray]
# Pixels, and the height and width of the whole image.
Read = tuple[np.ndarray, tuple[int, int]]

_LARGEST_FILE = 64 << 20  # bytes of an image on standard input
MAX_SIDE = 1 << 16  # pixels, as JPEG
# What a pixel takes while an image is read, twice as much where it is turned or its colours are another
# kind's; WebP's decoder holds two canvases of its own, and JPEG's may hold all coefficients.
_BYTES_A_PIXEL, _OF_WEBP, _OF_COEFFICIENTS = 4, 16, 6
_MAX_BYTES = 320 << 20
# What an image may take, however small its file is, and how many pixels a byte of a larger one stands
# for: photos have 16 a byte at most.
_PLAUSIBLE_BYTES, _PIXELS_A_BYTE = 128 << 20, 50
_PLAIN, _MOST_COMMENTS = (b"P1", b"P2", b"P3"), 100
_SCAN, _MOST_SCANS = b"\xff\xda", 100  # of a JPEG; progressive ones have about ten
# What is read before the pixels, as colour profiles are, and how often a file is asked at all: Pillow
# takes time by the square of the one, and by the other.
_MAX_HEADER_BYTES, _MAX_READS = 8 << 20, 100_000
_ORIENTATION = 0x0112  # of EXIF: how the camera was held
# How a picture is turned upright, by Pillow's names, as its ImageOps has it.
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_ON_ITS_SIDE = 5  # from this orientation on
# Of a JPEG no more is decoded than this many times what is wanted in each direction: what comes of it
# is at most 1 of 255 away from what comes of all (see docs/camera.md).
_ENOUGH = 8


@dataclasses.dataclass(frozen=True)
class EncodedImage:
    """An image as a model reads it: pixels, uint8 (height, width, 3), of which it makes `tokens`."""

    pixels: np.ndarray
    tokens: int
    size: tuple[int, int]  # height and width of what was given, upright
    truncated = False
    unknown_share = 0.0

    def __len__(self) -> int:
        return self.tokens

    @property
    def windows(self) -> tuple[EncodedImage, ...]:
        """It alone, see `Encoded.windows`."""
        return (self,)

    def arrays(self, length: int) -> dict[str, np.ndarray]:
        """The inputs of a model by name, uint8 (1, height, width, 3)."""
        return {"pixel_values": self.pixels[np.newaxis]}


class ImageEncoder:
    """What turns images into the inputs of a model."""

    def __init__(self, settings: ImageSettings, tokens: int) -> None:
        self._settings = settings
        self._tokens = tokens

    def encode(self, picture: Picture) -> EncodedImage:
        """Reads an image; raises as `read_pixels`."""
        pixels, size = read_picture(picture, self._settings)
        return EncodedImage(pixels, self._tokens, size)


def read_pixels(picture: Picture, settings: ImageSettings | None) -> np.ndarray:
    """The pixels of an image as the model reads them, uint8 (height, width, 3); without settings all
    there are, upright. Raises as `read_picture`."""
    return read_picture(picture, settings)[0]


def read_picture(picture: Picture, settings: ImageSettings | None) -> Read:
    """The same, and the height and width that the image had.

    Raises ImageError where it cannot be read, or is not an image, BackendError without Pillow.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ImageError(
                f"an array of {picture.dtype} {picture.shape} is not an image: give uint8"
                " (height, width, 3), red first"
            )
        size = picture.shape[0], picture.shape[1]
        if settings is None or picture.shape == settings.shape:
            return picture, size
        return _fitted(_pillow().fromarray(picture), settings, size), size
    if isinstance(picture, bytes):
        return _read(io.BytesIO(picture), "the image", settings)
    if not isinstance(picture, (str, os.PathLike)):
        raise ImageError(f"the image must be a path, not {type(picture).__name__}")
    return _read(None, os.fsdecode(picture), settings)


def read_image() -> bytes:
    """The one image on standard input; raises ImageError where that is none or too large."""
    if sys.stdin is None:
        raise ImageError("standard input is closed; give an image, as of rpicam-still -o -")
    found = sys.stdin.buffer.read(_LARGEST_FILE + 1)
    if len(found) > _LARGEST_FILE:
        raise ImageError(f"standard input has more than {_LARGEST_FILE} bytes, which is no image")
    if not found:
        raise ImageError("standard input is empty; give an image, as of rpicam-still -o -")
    return found


def _read(content: Any, name: str, settings: ImageSettings | None) -> Read:
    """The pixels of a file's first frame, of `content` or the file `name`, upright and in RGB."""
    module = _pillow()
    try:
        # Looked at before it is opened: opening a FIFO would wait for a writer.
        if content is None and not stat.S_ISREG(os.stat(name).st_mode):
            raise ImageError(f"{name}: not a file; give the path of an image")
        with contextlib.ExitStack() as stack:
            file = content or stack.enter_context(open(name, "rb"))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # about damaged EXIF, say
            # Claims more pixels than any photo: an error before anything is decoded, not a warning.
            warnings.simplefilter("error", module.DecompressionBombWarning)
            frugal = _Frugal(file, name)
            frugal.check_comments()
            image = stack.enter_context(module.open(frugal, formats=FORMATS))
            frugal.header_bytes = None
            return _upright(image, settings, frugal)
    except ImageError:
        raise
    except module.UnidentifiedImageError:
        raise ImageError(f"{name}: not an image; {', '.join(FORMATS)} are read") from None
    except (module.DecompressionBombWarning, module.DecompressionBombError):
        raise ImageError(
            f"{name}: claims more than {module.MAX_IMAGE_PIXELS} pixels; make it smaller"
        ) from None
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file; give the path of an image") from None
    # Decoders of damaged data raise whatever Python and C code can.
    except Exception as error:
        reason = getattr(error, "strerror", None) or one_line(error) or type(error).__name__
        raise ImageError(f"{name}: a damaged or unreadable image: {reason}") from error


class _Frugal:
    """A file for Pillow, which ends where headers take more than those of images do.

    Attributes:
        size: of the file, in bytes.
        header_bytes: that may still be read; None once the pixels are.
    """

    def __init__(self, file: Any, name: str) -> None:
        self._file, self.name = file, name
        self._reads = _MAX_READS
        self.header_bytes: int | None = _MAX_HEADER_BYTES
        self.seek, self.tell = file.seek, file.tell
        self.size = self.seek(0, io.SEEK_END)
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        self._reads -= 1
        if self.header_bytes is not None and size > 0:  # WebP's are read whole
            self.header_bytes -= size
        if self._reads < 0 or (self.header_bytes or 0) < 0:
            raise ImageError(
                f"{self.name}: what it has beside its pixels is more than images have; save it again"
                " without"
            )
        content: bytes = self._file.read(size)
        return content

    def check_comments(self) -> None:
        """Raises ImageError for a picture written in plain digits (P1 to P3 of PPM) with more comments
        than any program writes: taking them out takes time by the square of their number."""
        at = self.tell()
        self.seek(0)
        is_plain, comments = self._file.read(2) in _PLAIN, 0
        while is_plain and (block := self._file.read(1 << 20)):
            comments += block.count(b"#")
        self.seek(at)
        if comments > _MOST_COMMENTS:
            raise ImageError(
                f"{self.name}: has {comments} comments among its pixels; save it as another kind"
            )

    def check_scans(self) -> None:
        """Raises ImageError for a JPEG of more scans than a photo has: each takes as long as all of its
        pixels, and may have a few bytes."""
        at, scans, last = self.tell(), 0, b""
        self.seek(0)
        while block := self._file.read(1 << 20):
            scans += (last + block).count(_SCAN)
            last = block[-1:]
        self.seek(at)
        if scans > _MOST_SCANS:
            raise ImageError(
                f"{self.name}: has {scans} scans, and a photo at most {_MOST_SCANS}; save it again"
            )


def _check_claim(image: Any, whole: int, is_turned: bool, file: _Frugal) -> None:
    """Raises ImageError where an image would take more memory than any may, or than its file allows.

    Args:
        whole: its pixels, of which fewer may be decoded.
        is_turned: whether it becomes another one, upright.
    """
    decoded = image.width * image.height
    needed = decoded * _BYTES_A_PIXEL * (2 if is_turned or image.mode != "RGB" else 1)
    needed = decoded * _OF_WEBP if image.format == "WEBP" else needed
    needed += whole * _OF_COEFFICIENTS if image.format == "JPEG" else 0
    if needed > _MAX_BYTES or max(image.size) > MAX_SIDE:
        raise ImageError(
            f"{file.name}: claims {whole} pixels, for which {needed >> 20} MB would be taken;"
            f" {_MAX_BYTES >> 20} are allowed, and {MAX_SIDE} pixels on a side; make it smaller"
        )
    if needed > _PLAUSIBLE_BYTES and whole > _PIXELS_A_BYTE * file.size:
        raise ImageError(
            f"{file.name}: claims {whole} pixels in {file.size} bytes; make it smaller, or save it as"
            " it was taken"
        )


def _upright(image: Any, settings: ImageSettings | None, file: _Frugal) -> Read:
    """The pixels of an opened file; no copy of a large picture is made but where it must be turned."""
    size = image.height, image.width
    whole = image.width * image.height
    if image.format != "JPEG":  # of a PNG, EXIF may be behind the pixels, which are decoded for it
        _check_claim(image, whole, False, file)
    else:
        file.check_scans()
    orientation = image.getexif().get(_ORIENTATION)
    turn = _TURNS.get(orientation)
    if turn and orientation >= _ON_ITS_SIDE:
        size = size[1], size[0]
    _draft(image, settings, size)
    _check_claim(image, whole, bool(turn), file)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if turn:
        image = image.transpose(getattr(_pillow().Transpose, turn))
    return _fitted(image, settings, size), size


def _draft(image: Any, settings: ImageSettings | None, sides: tuple[int, int]) -> None:
    """Has a JPEG, of these sides upright, decoded at a half, quarter or eighth where that is enough.

    Sides that cannot be divided would be rounded, and the picture shifted: only what can is.
    """
    is_plain = image.format == "JPEG" and image.mode in ("RGB", "L")
    if not is_plain or settings is None or settings.resize is None:
        return
    wanted = _resized(*sides, settings.resize)
    factor = 1
    while factor < 8 and all(
        side % (2 * factor) == 0 and side // (2 * factor) >= _ENOUGH * least
        for side, least in zip(sides, wanted)
    ):
        factor *= 2
    if factor > 1:
        image.draft(image.mode, (image.width // factor, image.height // factor))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise BackendError(f"{NEEDS_PILLOW} ({one_line(error)})") from error
    return Image


def _fitted(image: Any, settings: ImageSettings | None, sides: tuple[int, int]) -> np.ndarray:
    """An image of these sides, maybe decoded at a part of them, resized, and cut or given an edge, as
    transformers does both; without settings as it is."""
    if settings is None:
        return np.asarray(image)
    if settings.resize is not None:
        height, width = _resized(*sides, settings.resize)
        if height * width * _BYTES_A_PIXEL > _MAX_BYTES:
            raise ImageError(
                f"an image of {sides[0]} x {sides[1]} pixels would become one of {height} x {width},"
                f" and {_MAX_BYTES // _BYTES_A_PIXEL} pixels are allowed; cut it"
            )
        resample = getattr(_pillow().Resampling, settings.resample.upper())
        image = image.resize((width, height), resample)
    pixels = np.asarray(image)
    if pixels.shape != settings.shape:
        pixels = _centred(pixels, settings.height, settings.width)
    return pixels


def _resized(height: int, width: int, resize: tuple[int, ...]) -> tuple[int, int]:
    if len(resize) == 2:
        return resize[0], resize[1]
    short, long = sorted((height, width))
    # Of a strip of one row nothing useful is left, but memory must not be taken for it.
    other = min(int(resize[0] * long / short), 64 * resize[0])
    return (resize[0], other) if height <= width else (other, resize[0])


def _centred(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle (height, width) of an image, with a black edge where it is smaller."""
    missing = [max(0, size - side) for size, side in zip((height, width), pixels.shape)]
    if any(missing):
        # Rounded up before and down behind, as there.
        edges = [((size + 1) // 2, size // 2) for size in missing]
        pixels = np.pad(pixels, (*edges, (0, 0)))
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]
