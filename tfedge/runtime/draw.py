"""Draws what is found in images into copies of them."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfedge.runtime.errors import ImageError, OptionError, one_line
from tfedge.runtime.image import read_pixels

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000")
# Pixels of a line and of a letter's height: at least, or the longer side by so many.
_LINE, _LETTER = (2, 300), (10, 40)
_UNNAMED = "image"  # what came without a name, on standard input


class Drawing:
    """Where copies go: a file of one image, or a folder of any number, which is made if need be.

    Raises OptionError where there can be none.

    Args:
        place: the folder, or a file called .png or .jpg.
        paths: all images that will be drawn, none where they are not known yet.
    """

    def __init__(self, place: str, paths: Sequence[str]) -> None:
        self._place = Path(place)
        self._is_file = self._place.suffix.lower() in _FORMATS and not self._place.is_dir()
        self._names: dict[str, str] = {}  # of copies in a folder, by the paths of what they are of
        if self._is_file and len(paths) != 1:
            raise OptionError(f"--draw {place} is a file, of one image; give a folder")
        folder = self._place.parent if self._is_file else self._place
        try:
            if not self._is_file:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"--draw {place}: {error.strerror}; give another folder") from error
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise OptionError(f"--draw {place}: {folder} is no folder to write into; give another")

    def draw(self, picture: Any, objects: Sequence[Mapping[str, Any]]) -> None:
        """Draws the objects of an answer into a copy of the picture that was asked, a path or what is
        in a file; raises ImageError where it cannot be read again or the copy not be written."""
        path = picture if isinstance(picture, str) else _UNNAMED
        copy = self._copy_of(path)
        with contextlib.suppress(OSError):
            if copy.samefile(path):
                raise ImageError(f"{path}: --draw {self._place} would write over it; give another")
        _write(_drawn(picture, objects), copy)

    def _copy_of(self, path: str) -> Path:
        """The file that an image is drawn into: in a folder by its name, numbered where others have
        that too."""
        if self._is_file:
            return self._place
        if path not in self._names:
            name, number = f"{Path(path).stem}.boxes.png", 1
            while name in self._names.values():
                number += 1
                name = f"{Path(path).stem}-{number}.boxes.png"
            self._names[path] = name
        return self._place / self._names[path]


def _write(image: Any, place: Path) -> None:
    """Writes a whole file or none."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            image.save(file, _FORMATS[place.suffix.lower()])
        os.replace(temporary, place)
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise ImageError(f"{place}: cannot be written: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _drawn(picture: Any, objects: Sequence[Mapping[str, Any]]) -> Any:
    """The whole picture, upright, with a box and a text for each object, the likeliest on top."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(read_pixels(picture, None))
    draw = ImageDraw.Draw(image)
    width, height = (max(least, max(image.size) // parts) for least, parts in (_LINE, _LETTER))
    font = _font(height)
    for found in sorted(objects, key=lambda each: each["score"]):
        left, top, right, bottom = found["box"].values()
        colour = _COLOURS[zlib.crc32(found["label"].encode()) % len(_COLOURS)]
        draw.rectangle((left, top, max(left, right), max(top, bottom)), None, colour, width)
        # Old fonts refuse letters that they lack.
        text = f"{found['label']} {found['score']:.2f}".encode("latin-1", "replace").decode(
            "latin-1"
        )
        place = max(left, 0) + width, max(top, 0) + width
        draw.rectangle(draw.textbbox(place, text, font), colour)
        draw.text(place, text, "white", font)
    return image


def _font(size: int) -> Any:
    """Pillow's own; before Pillow 10.1, and without FreeType, it has one size."""
    from PIL import ImageFont, features

    if hasattr(ImageFont, "load_default_imagefont") and features.check("freetype2"):
        return ImageFont.load_default(size)
    return ImageFont.load_default()
