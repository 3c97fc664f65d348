"""Columns of data sets, which have several names on the hub, and the labels in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfedge.errors import InputError

if TYPE_CHECKING:
    from tfedge.data.hub import Data

# In use on the hub for the text of a single-sentence task.
TEXT = ("text", "sentence", "question")
LABEL = ("label", "labels", "label_text")
IMAGE = ("image", "file_name")
SEPARATOR = "|"  # between several labels in one cell
# What beside a text says that both are read together: of pairs, and of questions on a text.
SECOND = (
    *("text_pair", "sentence2", "context", "passage", "hypothesis", "premise"),
    *("question", "query"),
)
# By which a first line is recognised, and which no file may have twice.
KNOWN = frozenset((*TEXT, *LABEL, *IMAGE, *SECOND, "sentence1", "score"))


def named(names: Iterable[str], source: str) -> list[str]:
    """Names of columns as they are compared, in lower case and without blanks around them.

    Raises InputError where two that are known are the same then.
    """
    found = [name.strip().lower() for name in names]
    if twice := [name for name in KNOWN.intersection(found) if found.count(name) > 1]:
        raise InputError(
            f"{source} has the column {min(twice)!r} twice (case and blanks do not count); rename or "
            "drop one"
        )
    return found


def find(rows: Sequence[Collection[str]], names: Sequence[str]) -> str | None:
    """Which of the names the first row has."""
    return next((name for name in names if rows and name in rows[0]), None)


def texts(rows: Sequence[Mapping[str, Any]], column: str, source: str) -> list[str]:
    """A column of strings; raises InputError where a row has none."""
    for number, row in enumerate(rows, 1):
        value = row.get(column)
        if not isinstance(value, str) or not value.strip():
            raise InputError(
                f"{source}, row {number}: {column!r} is {value!r:.40}; give a text there"
            )
    return [row[column] for row in rows]


def texts_alone(data: Data, task: str, wanted: str) -> list[str]:
    """The texts of data that lack the columns `wanted`; raises InputError where there are none."""
    rows = data.table
    if rows and find(rows, TEXT) is None:
        raise InputError(
            f"{data.name} has the columns {sorted(rows[0])}; {task} is measured on {wanted}, or "
            "compared with another model (--against) on the column text"
        )
    return data.texts().texts


def label_ids(words: Sequence[str], names: Sequence[str], source: str) -> list[int]:
    """Labels as indices into `names`, compared without regard to case.

    A label may also be the index itself, as in data sets on the hub. Raises InputError for others.
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
