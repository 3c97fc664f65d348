"""Columns of data sets, which have several names on the hub, and the labels in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfedge.errors import InputError

if TYPE_CHECKING:
    from tfedge.data.source import Data

# In use on the hub for the text of a single-sentence task.
TEXT = ("text", "sentence", "question")
LABEL = ("label", "labels", "label_text")
IMAGE = ("image", "file_name")

Table = Sequence[Mapping[str, Any]]


def find(rows: Table, names: Sequence[str]) -> str | None:
    """Which of the names the first row has."""
    return next((name for name in names if rows and name in rows[0]), None)


def texts(rows: Table, column: str, source: str) -> list[str]:
    """A column of strings.

    Raises:
        InputError: a row has none.
    """
    for number, row in enumerate(rows, 1):
        value = row.get(column)
        if not isinstance(value, str) or not value.strip():
            raise InputError(
                f"{source}, row {number}: {column!r} is {value!r:.40}; give a text there"
            )
    return [row[column] for row in rows]


def texts_alone(data: Data, task: str, wanted: str) -> list[str]:
    """The texts of data that do not say what is right.

    Args:
        wanted: the columns that would say it.

    Raises:
        InputError: there is no column with texts.
    """
    rows = data.table
    if rows and find(rows, TEXT) is None:
        raise InputError(
            f"{data.name} has the columns {sorted(rows[0])}; {task} is measured on {wanted}, or "
            "compared with another model (--against) on the column text"
        )
    return data.texts().texts


def label_ids(words: Sequence[str], names: Sequence[str], source: str) -> list[int]:
    """Labels as indices into `names`, compared without regard to case.

    A label may also be given as the index itself, as data sets on the hub do.

    Raises:
        InputError: one is not among `names`.
    """
    known = {name.lower(): index for index, name in enumerate(names)}
    known |= {str(index): index for index in range(len(names)) if str(index) not in known}
    unknown = sorted({label for label in words if label.lower() not in known})
    if unknown:
        raise InputError(
            f"{source} has labels {unknown[:5]} that the model does not know; "
            f"its labels are {list(names)}"
        )
    return [known[label.lower()] for label in words]
