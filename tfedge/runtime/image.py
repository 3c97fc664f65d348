"""Image in, the model's input array out; files are read by Pillow, of which nothing else is needed."""

from __future__ import annotations

import dataclasses
import os
import stat
import warnings
from typing import Any, Union

import numpy as np

from tfedge.runtime.errors import BackendError, ImageError, one_line
from tfedge.runtime.image_settings import ImageSettings

# What is read; other formats of Pillow start programs (EPS) or are nobody's photos.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM")
NEEDS_PILLOW = "Pillow, which reads images, is not installed: `pip install pillow`"

Picture = Union[str, "os.PathLike[str]", np.ndarray]  # a file, or uint8 (height, width, 3), RGB


@dataclasses.dataclass(frozen=True)
class EncodedImage:
    """An image as a model reads it: pixels, uint8 (height, width, 3), of which it makes `tokens`."""

    pixels: np.ndarray
    tokens: int
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
        return EncodedImage(read_pixels(picture, self._settings), self._tokens)


def read_pixels(picture: Picture, settings: ImageSettings) -> np.ndarray:
    """The pixels of an image as the model reads them, uint8 (height, width, 3).

    Raises ImageError where it cannot be read, or is not an image, BackendError without Pillow.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ImageError(
                f"an array of {picture.dtype} {picture.shape} is not an image: give uint8"
                " (height, width, 3), red first"
            )
        if picture.shape == settings.shape:
            return picture
        return _fitted(_pillow().fromarray(picture), settings)
    if not isinstance(picture, (str, os.PathLike)):
        raise ImageError(f"the image must be a path, not {type(picture).__name__}")
    return _fitted(_decoded(os.fsdecode(picture)), settings)


def _decoded(path: str) -> Any:
    """The first frame of a file as a Pillow image, upright and in RGB."""
    module = _pillow()
    from PIL import ImageOps

    try:
        # Looked at before it is opened: opening a FIFO would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageError(f"{path}: not a file; give the path of an image")
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged EXIF, say
            # Claims more pixels than any photo: an error before anything is decoded, not a warning.
            warnings.simplefilter("error", module.DecompressionBombWarning)
            with module.open(file, formats=FORMATS) as image:
                return ImageOps.exif_transpose(image).convert("RGB")
    except ImageError:
        raise
    except module.UnidentifiedImageError:
        raise ImageError(f"{path}: not an image; {', '.join(FORMATS)} are read") from None
    except (module.DecompressionBombWarning, module.DecompressionBombError):
        raise ImageError(
            f"{path}: claims more than {module.MAX_IMAGE_PIXELS} pixels; make it smaller"
        ) from None
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; give the path of an image") from None
    # Decoders of damaged data raise whatever Python and C code can.
    except Exception as error:
        reason = getattr(error, "strerror", None) or one_line(error) or type(error).__name__
        raise ImageError(f"{path}: a damaged or unreadable image: {reason}") from error


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise BackendError(f"{NEEDS_PILLOW} ({one_line(error)})") from error
    return Image


def _fitted(image: Any, settings: ImageSettings) -> np.ndarray:
    """An image resized, and cut or given an edge, as transformers does both."""
    if settings.resize is not None:
        height, width = _resized(image.height, image.width, settings.resize)
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
