"""What the user names with --data: a file, a folder of images, or a data set on the hub."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from tfedge.data import hub
from tfedge.data.images import read_images
from tfedge.data.texts import Texts


@dataclasses.dataclass(frozen=True)
class Data:
    """Texts, read when they are asked for.

    Attributes:
        split: of a data set on the hub that names none.
    """

    name: str
    split: str

    def texts(self) -> Texts:
        """What is read, with the labels that a classifier has.

        Raises:
            InputError, MissingPackageError: see `tfedge.data.hub.read_data`.
        """
        return hub.read_data(self.name, self.split)

    @functools.cached_property
    def table(self) -> list[dict[str, Any]]:
        """The rows by the names of columns, values as they are; see `texts`."""
        return hub.read_rows(self.name, self.split)


class ImageData(Data):
    """Images in a folder or a table, see `tfedge.data.images.read_images`."""

    def texts(self) -> Texts:
        """Paths in the place of texts; raises InputError."""
        return read_images(self.name)


# By what an architecture reads.
KINDS: dict[str, type[Data]] = {"texts": Data, "images": ImageData}
