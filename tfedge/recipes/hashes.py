"""Hashes of what stages read: texts, images, checkpoints and converted models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from tfedge import files
from tfedge.data.hub import is_file_name
from tfedge.data.images import listed_images, read_images
from tfedge.errors import InputError
from tfedge.models import folder as checkpoint
from tfedge.models.hub import resolve


def digest(hashes: Mapping[str, str | None]) -> str:
    """One hash of several."""
    return hashlib.sha256(json.dumps(dict(hashes), sort_keys=True).encode()).hexdigest()


class Hashes:
    """Hashes by what is in the files; a file that stays as it is, is read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int, int], str] = {}

    def file(self, path: Path) -> str:
        """The SHA-256 of a file.

        Raises:
            OSError: it cannot be read.
        """
        state = path.stat()
        key = (path.resolve(), state.st_ino, state.st_size, state.st_mtime_ns)
        if key not in self._known:
            self._known[key] = files.sha256(path)
        return self._known[key]

    def data(self, name: str) -> str:
        """Of texts or images: a file, a folder of images, or a table with the images that it lists.

        Raises:
            InputError: there is no such file, or no image in a folder.
        """
        if not is_file_name(name):
            return f"hub:{name}"  # taken for the same while it is called so
        path = Path(name)
        if not path.exists():
            raise InputError(f"{name} does not exist")
        if path.is_dir():
            images = [Path(image) for image in read_images(path).texts]
            return digest(
                {image.relative_to(path).as_posix(): self.file(image) for image in images}
            )
        listed = {image: self._if_there(path.parent / image) for image in listed_images(path)}
        return digest({"": self.file(path), **listed}) if any(listed.values()) else self.file(path)

    def model(self, name: str) -> str:
        """Of a checkpoint, or a converted model.

        Raises:
            InputError: nothing of that name.
            CheckpointError: a folder is no checkpoint.
        """
        if Path(name).is_file():
            return self.file(Path(name))
        found = checkpoint.files_of(resolve(name).folder)
        return digest({place: self.file(path) for place, path in found.items()})

    def _if_there(self, path: Path) -> str | None:
        try:
            return self.file(path)
        except (OSError, ValueError):  # a line of a text is no name of a file
            return None
