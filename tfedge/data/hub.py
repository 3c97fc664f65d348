"""What the user names with --data: a file, a folder of images, or a data set on the hub."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

from tfedge.data import texts
from tfedge.data.images import read_images
from tfedge.data.texts import LABEL_COLUMNS, TEXT_COLUMNS, Texts, read_texts
from tfedge.errors import InputError, MissingPackageError
from tfedge.tasks import columns

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:.+)?")  # owner/name:split


def is_file_name(name: str, folder: str | Path = "") -> bool:
    """Whether a name is one of a file, relative to `folder`, rather than of a data set on the hub."""
    path = Path(folder) / name
    return path.exists() or bool(path.suffix) or not _HUB_ID.fullmatch(name)


def read_data(name: str, split: str) -> Texts:
    """Reads a file, or one split of a data set on the hub.

    Args:
        split: the one that is read where `name` (`stanfordnlp/sst2:validation`) gives none.

    Raises InputError where it is neither a file nor a data set that can be downloaded,
    MissingPackageError where the hub is asked for without the package `datasets`.
    """
    if is_file_name(name):
        return read_texts(name)
    rows = _load(name, split)
    names = [rows.column_names]
    text, label = columns.find(names, TEXT_COLUMNS), columns.find(names, LABEL_COLUMNS)
    if text is None:
        raise InputError(
            f"data set {name} has the columns {rows.column_names}, none of {TEXT_COLUMNS}"
        )
    if not all(isinstance(value, str) and value.strip() for value in rows[text]):
        raise InputError(f"data set {name} has rows without text in its column {text!r}")
    found = Texts(list(rows[text]), None, name, columns.second(rows.column_names, text))
    if label is None:
        return found
    as_word = getattr(rows.features[label], "int2str", str)  # which numbers of labels have
    try:
        return dataclasses.replace(found, labels=[as_word(value) for value in rows[label]])
    except ValueError as error:  # -1 in splits whose labels are kept secret
        raise InputError(
            f"data set {name} has rows without a label ({error}); use another split"
        ) from error


@dataclasses.dataclass(frozen=True)
class Data:
    """What the user names with --data, read when it is asked for; see `read_data`."""

    name: str
    split: str

    def texts(self) -> Texts:
        """What is read, with the labels that a classifier has; raises as `read_data`."""
        return read_data(self.name, self.split)

    @functools.cached_property
    def table(self) -> list[dict[str, Any]]:
        """The rows by the names of columns, values as they are; raises as `read_data`.

        Numbers of labels become their names, in lists too.
        """
        if is_file_name(self.name):
            return texts.read_rows(texts.existing(self.name))
        rows = _load(self.name, self.split)
        as_words = {
            column: feature.int2str
            for column, kind in rows.features.items()
            if hasattr(feature := getattr(kind, "feature", kind), "int2str")
        }
        return [
            {name: as_words.get(name, lambda same: same)(value) for name, value in row.items()}
            for row in rows
        ]


class ImageData(Data):
    """Images in a folder or a table, see `tfedge.data.images.read_images`."""

    def texts(self) -> Texts:
        """Paths in the place of texts; raises InputError."""
        return read_images(self.name)


# By what an architecture reads.
KINDS: dict[str, type[Data]] = {"texts": Data, "images": ImageData}


def _load(name: str, split: str) -> Any:
    """A data set of the hub; raises as `read_data`."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingPackageError(
            f"{name} is not a file; reading it from the hub needs the package datasets: "
            "pip install 'tfedge[hub]'"
        ) from error
    identifier, _, wanted = name.partition(":")
    try:
        return load_dataset(identifier, split=wanted or split)
    # datasets raises many kinds of errors for what is one thing to the user.
    except Exception as error:
        raise InputError(
            f"data set {name} could not be downloaded from the hub: {error}"
        ) from error
