"""What the user names with --data: a file, a folder of images, or a data set on the hub."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tfedge.data import coco, samples, texts
from tfedge.data.coco import Boxes
from tfedge.data.images import Images, read_images
from tfedge.data.rows import Table
from tfedge.data.texts import AS_FOUND, Texts
from tfedge.errors import InputError, MissingPackageError
from tfedge.tasks.columns import LABEL, TEXT, ColumnNames, named

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:.+)?")  # owner/name:split


def is_file_name(name: str, folder: str | Path = "") -> bool:
    """Whether a name is one of a file, relative to `folder`, rather than of a data set on the hub."""
    path = Path(folder) / name
    return path.exists() or bool(path.suffix) or not _HUB_ID.fullmatch(name)


def check_data(name: str) -> None:
    """Raises, without reading it, where data can be neither a file nor read from the hub; as `Data`."""
    if is_file_name(name):
        texts.existing(name)
    elif importlib.util.find_spec("datasets") is None:
        raise _needs_datasets(name)


def read_data(
    name: str, split: str, columns: ColumnNames = AS_FOUND, may_lack_labels: bool = False
) -> Texts:
    """The texts of a file, or of one split of a data set on the hub; see `Data`."""
    return Data(name, split, columns).texts(may_lack_labels=may_lack_labels)


@dataclasses.dataclass(frozen=True)
class Data:
    """What the user names with --data, read when it is asked for.

    Reading it raises InputError where it is neither a file nor a data set that can be downloaded,
    MissingPackageError where the hub is asked for without the package `datasets`.
    """

    may_be_on_hub: ClassVar[bool] = True
    name: str
    split: str  # that is read where the name (`stanfordnlp/sst2:validation`) gives none
    columns: ColumnNames = AS_FOUND

    def texts(self, truth: Sequence[str] = LABEL, may_lack_labels: bool = False) -> Texts:
        """See `tfedge.data.texts.texts_of`."""
        return texts.texts_of(self.table, self.name, self.columns, truth, may_lack_labels)

    @property
    def boxes(self) -> Boxes | None:
        """What is to be found in images, None where the data do not say it."""
        return None

    @functools.cached_property
    def table(self) -> Table:
        """The rows by the names of columns, in lower case, values as they are.

        Numbers of labels become their names, in lists too, and samples of rerankers a row a candidate.
        """
        return samples.apart(self._rows(), self.name)

    def _rows(self) -> Table:
        if is_file_name(self.name):
            return texts.read_rows(self.name, self.columns.text_column or TEXT[0])
        rows = _load(self.name, self.split)
        names = named(rows.column_names, self.name)
        as_words = {
            column: feature.int2str
            for column, kind in rows.features.items()
            if hasattr(feature := getattr(kind, "feature", kind), "int2str")
        }
        try:
            columns = [
                list(map(as_words.get(column, lambda same: same), rows[column]))
                for column in rows.column_names
            ]
        except ValueError as error:  # -1 in splits whose labels are kept secret
            raise InputError(
                f"data set {self.name} has rows without a label ({error}); use another split"
            ) from error
        found = Table(
            dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)
        )
        if not found:
            raise InputError(f"data set {self.name} has no rows in this split; use another one")
        return found


class ImageData(Data):
    """Images in a folder, a table, or a file as COCO's; see `tfedge.data.images.read_images`."""

    may_be_on_hub = False

    @functools.cached_property
    def boxes(self) -> Boxes | None:
        """See `tfedge.data.coco.read_boxes`."""
        is_file = Path(self.name).suffix.lower() == coco.SUFFIX
        return coco.read_boxes(Path(self.name)) if is_file else None

    def texts(self, truth: Sequence[str] = LABEL, may_lack_labels: bool = False) -> Texts:
        """Paths in the place of texts; raises InputError."""
        if self.columns != AS_FOUND:
            raise InputError(
                f"{self.name}: columns are named for models of texts; of images leave out "
                "--text-column, --pair-column and --label-column"
            )
        if self.boxes is not None:
            return Images(self.boxes.images, None, self.name)
        return read_images(self.name, may_lack_labels)


# By what an architecture reads.
KINDS: dict[str, type[Data]] = {"texts": Data, "images": ImageData}


def _load(name: str, split: str) -> Any:
    """A data set of the hub; raises as `Data`."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise _needs_datasets(name) from error
    identifier, _, wanted = name.partition(":")
    try:
        return load_dataset(identifier, split=wanted or split)
    # datasets raises many kinds of errors for what is one thing to the user.
    except Exception as error:
        raise InputError(
            f"data set {name} could not be downloaded from the hub: {error}"
        ) from error


def _needs_datasets(name: str) -> MissingPackageError:
    return MissingPackageError(
        f"{name} is not a file; reading it from the hub needs the package datasets: "
        "`pip install datasets`"
    )
