"""Texts by the name of a file or of a data set on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tfedge.data import texts
from tfedge.data.texts import LABEL_COLUMNS, TEXT_COLUMNS, Texts, find_column, read_texts
from tfedge.errors import InputError, MissingPackageError

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:.+)?")  # owner/name:split


def is_file_name(name: str, folder: str | Path = "") -> bool:
    """Whether a name is one of a file, relative to `folder`, rather than of a data set on the hub."""
    path = Path(folder) / name
    return path.exists() or bool(path.suffix) or not _HUB_ID.fullmatch(name)


def read_data(name: str, split: str) -> Texts:
    """Reads a file, or one split of a data set on the hub.

    Args:
        name: a path, or `owner/name` with an optional `:split`, for instance
            `stanfordnlp/sst2:validation`.
        split: the split that is read where `name` gives none.

    Raises:
        InputError: it is neither a file nor a data set that can be downloaded.
        MissingPackageError: the hub is asked for without the package `datasets`.
    """
    if is_file_name(name):
        return read_texts(name)
    rows = _load(name, split)
    text, label = (find_column(rows.column_names, names) for names in (TEXT_COLUMNS, LABEL_COLUMNS))
    if text is None:
        raise InputError(
            f"data set {name} has the columns {rows.column_names}, none of {TEXT_COLUMNS}"
        )
    if not all(isinstance(value, str) and value.strip() for value in rows[text]):
        raise InputError(f"data set {name} has rows without text in its column {text!r}")
    if label is None:
        return Texts(list(rows[text]), None, name)
    as_word = getattr(rows.features[label], "int2str", str)  # which numbers of labels have
    try:
        return Texts(list(rows[text]), [as_word(value) for value in rows[label]], name)
    except ValueError as error:  # -1 in splits whose labels are kept secret
        raise InputError(
            f"data set {name} has rows without a label ({error}); use another split"
        ) from error


def read_rows(name: str, split: str) -> list[dict[str, Any]]:
    """The rows of a file or data set as `read_data` takes it, values as they are.

    Numbers of labels become their names, in lists too.
    """
    if is_file_name(name):
        return texts.read_rows(texts.existing(name))
    rows = _load(name, split)
    as_words = {
        column: feature.int2str
        for column, kind in rows.features.items()
        if hasattr(feature := getattr(kind, "feature", kind), "int2str")
    }
    return [
        {
            column: as_words[column](value) if column in as_words else value
            for column, value in row.items()
        }
        for row in rows
    ]


def _load(name: str, split: str) -> Any:
    """A data set of the hub; raises as `read_data`."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingPackageError(
            f"{name} is no file; reading it from the hub needs the package datasets: "
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
