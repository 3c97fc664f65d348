"""Columns of data sets, which have several names on the hub, and the labels in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfedge.errors import InputError
from tfedge.notes import note

if TYPE_CHECKING:
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts

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


def second(names: Collection[str], text: str) -> tuple[str, ...]:
    """Which columns beside that of the texts have second texts."""
    return tuple(name for name in SECOND if name in names and name != text)


def texts_alone(data: Data, task: str, wanted: str) -> Texts:
    """The texts of data that lack the columns `wanted`; raises InputError where there are none."""
    rows = data.table
    if rows and find(rows, TEXT) is None:
        raise InputError(
            f"{data.name} has the columns {sorted(rows[0])}; {task} is measured on {wanted}, or "
            "compared with another model (--against) on the column text"
        )
    return data.texts()


def key(label: str) -> str:
    """What labels are compared by: case does not count, nor do blanks beside one between words."""
    return " ".join(label.lower().split())


def label_names(words: Iterable[str], source: str) -> list[str]:
    """The labels that occur, sorted; where all are numbers, as these are.

    Raises InputError where two are the same but for case and blanks.
    """
    found = sorted(set(words))
    if all(word.isdecimal() for word in found):
        found.sort(key=lambda word: (len(word), word))
    if alike := _alike(found):
        raise InputError(
            f"{source} has the labels {alike[0]!r} and {alike[1]!r}, which are the same but for case "
            "and blanks; write one of them everywhere"
        )
    return found


def label_ids(words: Sequence[str], names: Sequence[str], source: str) -> list[int]:
    """Labels as indices into `names`, compared by `key`.

    They may also be the indices themselves, as in data sets on the hub: all of them or, where no
    name is a number, some. Where all are names and could be indices of others, they are names, and a
    note says so. Raises InputError for other labels, and where two names are the same by `key`.
    """
    if alike := _alike(names):
        raise InputError(
            f"the labels {alike[0]!r} and {alike[1]!r} are the same but for case and blanks, so that "
            f"those of {source} could be either; rename one (in id2label of a model's config.json)"
        )
    known = {key(name): index for index, name in enumerate(names)}
    indices = {str(index): index for index in range(len(names))}
    found = {key(word) for word in words}
    if found <= known.keys():
        if found <= indices.keys() and any(known[one] != indices[one] for one in found):
            note(
                f"the labels {sorted(found)[:5]} of {source} are read as names of the labels "
                f"{list(names)[:5]}, not as their numbers from 0; if they are numbers, write names"
            )
    elif found <= indices.keys():
        known = indices
    elif not any(name.isdecimal() for name in known):
        known |= indices
    unknown = sorted({label for label in words if key(label) not in known})
    if unknown:
        raise InputError(
            f"{source} has labels {unknown[:5]} that the model does not know; "
            f"its labels are {list(names)}"
        )
    return [known[key(label)] for label in words]


def _alike(labels: Iterable[str]) -> tuple[str, str] | None:
    """The first two labels that are the same by `key`."""
    seen: dict[str, str] = {}
    for label in labels:
        if key(label) in seen:
            return seen[key(label)], label
        seen[key(label)] = label
    return None
