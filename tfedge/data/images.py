"""Finds labelled images in folders and tables, and reads their pixels as a board does."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfedge.data.texts import IMAGE_COLUMNS, Texts, read_rows, texts_of
from tfedge.errors import InputError, board_errors
from tfedge.notes import note
from tfedge.progress import Progress, unheard
from tfedge.runtime.errors import ImageError
from tfedge.runtime.image import read_pixels
from tfedge.runtime.image_settings import ImageSettings
from tfedge.tasks.base import Rows

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm")
_NAMED = 3  # images that cannot be read, in a message


class Images(Texts):
    """Paths of images in the place of texts, which is what `tfedge-infer` is given of them."""


def read_images(path: str | Path, may_lack_labels: bool = False) -> Images:
    """The images of a folder, or of a table, whose rows may each have no label if so told.

    A folder has a sub-folder for each label, or images alone. They come with labels taking turns,
    so that the first of them are of all labels. A table, as `tfedge.data.texts.read_texts` reads
    them, has a column `image` with paths, as seen from its own folder, and perhaps `label`. Raises
    InputError where there is no image, images are beside folders of them, or a table cannot be
    read.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise InputError(
            f"{path} does not exist; give a folder of images, one sub-folder per label, or a table "
            f"with the columns image and label"
        )
    found = _table(path, may_lack_labels)
    names = [str(path.parent / name) for name in found.texts]
    return Images(names, found.labels, str(path), left_out=found.left_out)


def listed_images(path: Path) -> list[str]:
    """The names of images that a table lists; none where it is one of texts, or cannot be read."""
    try:
        return _table(path, may_lack_labels=True).texts
    except InputError:
        return []


def _table(path: Path, may_lack_labels: bool) -> Texts:
    rows = read_rows(path, IMAGE_COLUMNS[0])
    return texts_of(rows, str(path), wanted=IMAGE_COLUMNS, may_lack_labels=may_lack_labels)


def _read_folder(folder: Path) -> Images:
    try:
        alone = _images_in(folder)
        by_label = {
            item.name: found
            for item in sorted(folder.iterdir())
            if item.is_dir() and (found := _images_in(item))
        }
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error
    if alone and by_label:
        raise InputError(
            f"{folder} has images beside the folders {sorted(by_label)[:3]}; put each into the folder "
            "of its label"
        )
    if by_label:
        turns = itertools.zip_longest(
            *([(path, label) for path in found] for label, found in by_label.items())
        )
        pairs = [pair for turn in turns for pair in turn if pair is not None]
        return Images([path for path, _ in pairs], [label for _, label in pairs], str(folder))
    if not alone:
        raise InputError(f"{folder} has no images ({', '.join(SUFFIXES)})")
    return Images(alone, None, str(folder))


def _images_in(folder: Path) -> list[str]:
    return [
        str(path)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.is_dir()
    ]


def pixels_of(paths: Sequence[str], settings: ImageSettings) -> list[np.ndarray]:
    """The pixels of images as a model reads them, uint8 (height, width, 3) each.

    Raises InputError for one that cannot be read, MissingPackageError without Pillow.
    """
    with board_errors():
        return [read_pixels(path, settings) for path in paths]


def decoded(rows: Rows, settings: ImageSettings, progress: Progress = unheard) -> Rows:
    """The rows with pixels in place of paths, see `pixels_of`; `progress` is told of each.

    A note names images that cannot be read, and they are left out. Raises InputError where none is
    left, MissingPackageError without Pillow.
    """
    pixels, kept, faults = [], [], []
    with board_errors():
        for index, path in enumerate(rows.items):
            try:
                pixels.append(read_pixels(path, settings))
                kept.append(index)
            except ImageError as error:
                faults.append(str(error))
            progress(1)
    if not kept:
        raise InputError(f"{rows.source} has no image that can be read: {faults[0]}")
    if faults:
        more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        note(
            f"{len(faults)} of the {len(rows)} images of {rows.source} cannot be read and are left "
            f"out: {'; '.join(faults[:_NAMED])}{more}"
        )
    return dataclasses.replace(rows.part(kept), items=pixels)
