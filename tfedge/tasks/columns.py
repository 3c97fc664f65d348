"""Columns of data sets, which have several names on the hub, and the labels in them."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.errors import InputError
from tfedge.notes import note
from tfedge.runtime.bundle import is_label

if TYPE_CHECKING:
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts

# In use on the hub for the text of a single-sentence task.
TEXT = ("text", "sentence", "question")
ANSWERS = ("answers", "answer")  # of a question
WORDS = "tokens"  # a list of a text's words, where labels are of words
LABEL = ("label", "labels", "label_text")
RELEVANCE = "relevance"  # a number, of a text to a query
# Of what is a number; SICK's data set has the last but one.
SCORE = ("score", "similarity_score", *LABEL, "relatedness_score", RELEVANCE)
IMAGE = ("image", "file_name")
NEGATIVE = "negative"  # beside a pair that means the same a text that means something else
SEPARATOR = "|"  # between several labels in one cell
# Texts that are read together, in this order whatever that of the columns.
PAIRS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("query", "passage"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("sentence_a", "sentence_b"),
    ("question", "passage"),
    ("question", "context"),
    ("anchor", "positive"),
)
# What beside others is a further text of its row.
_TEXTS = frozenset((*TEXT, *itertools.chain(*PAIRS)))
# By which a first line is recognised, and which no file may have twice.
KNOWN = frozenset((*_TEXTS, *SCORE, *IMAGE))
_NAMED = 5  # columns that a note names
MOST_LABELS = 100_000  # of a classifier; ImageNet-21k has 21,843


@dataclasses.dataclass(frozen=True)
class ColumnNames:
    """Columns that the user names, in place of those that are known; raises InputError for a second
    text without a first."""

    text_column: str | None = None
    pair_column: str | None = None  # the second text of a pair
    label_column: str | None = None

    def __post_init__(self) -> None:
        for field, name in vars(self).items():
            object.__setattr__(self, field, name and _key(name))
        if self.pair_column is not None and self.text_column is None:
            raise InputError(
                f"--pair-column {self.pair_column} is the second text of a pair; name the first one "
                "with --text-column"
            )

    def texts(self, names: Collection[str], known: Sequence[str], source: str) -> tuple[str, ...]:
        """Which of the columns `names` have the texts, two where these are pairs; one of `known`
        where those are. Raises InputError where there are none."""
        if self.text_column is not None:
            given = (self.text_column, self.pair_column)
            return tuple(_known(name, names, source) for name in given if name is not None)
        pairs = PAIRS if known is TEXT else ()
        found = next((pair for pair in pairs if set(pair) <= set(names)), None)
        further = (*known, WORDS) if known is TEXT else known
        alone = next((name for name in further if name in names), None)
        if found or alone:
            return found or (str(alone),)
        advice = " (or give --text-column)" if known is TEXT else ""
        raise InputError(
            f"{source} has the columns {sorted(names)}; name the one with the {known[0]} "
            f"{known[0]!r}{advice}"
        )

    def further(self, texts: Collection[str], names: Iterable[str]) -> tuple[str, ...]:
        """The columns beside `texts` that look like further texts, unless the user has chosen."""
        if self.text_column is not None:
            return ()
        return tuple(name for name in names if name in _TEXTS and name not in texts)

    def label(self, names: Collection[str], known: Sequence[str], source: str) -> str | None:
        """Which column has the labels; raises InputError where the user's is not there."""
        if self.label_column is not None:
            return _known(self.label_column, names, source)
        return next((name for name in known if name in names), None)


def _known(name: str, names: Collection[str], source: str) -> str:
    if name not in names:
        raise InputError(f"{source} has no column {name!r}; its columns are {sorted(names)}")
    return name


def _key(name: str) -> str:
    return name.strip().lower()


def named(names: Iterable[str], source: str) -> list[str]:
    """Names of columns as they are compared, in lower case and without blanks around them.

    Raises InputError where two that are known are the same then.
    """
    found = list(map(_key, names))
    if twice := [name for name in KNOWN.intersection(found) if found.count(name) > 1]:
        raise InputError(
            f"{source} has the column {min(twice)!r} twice (case and blanks do not count); rename or "
            "drop one"
        )
    return found


def texts(rows: Sequence[Mapping[str, Any]], column: str, source: str) -> list[str]:
    """A column of strings; raises InputError where a row has none."""
    for number, row in enumerate(rows, 1):
        value = row.get(column)
        if not isinstance(value, str) or not value.strip():
            raise InputError(
                f"{source}, row {number}: {column!r} is {value!r:.40}; give a text there"
            )
    return [row[column] for row in rows]


def quoted(names: Iterable[str]) -> str:
    """Names as a list in words; of many the first ones."""
    found = [repr(name) for name in names]
    if len(found) > _NAMED:
        found = [*found[: _NAMED - 1], f"{len(found) - _NAMED + 1} more"]
    return " and ".join(filter(None, [", ".join(found[:-1]), *found[-1:]]))


def tell(source: str, read: str, left_out: Sequence[str]) -> None:
    """Notes how columns were read, in words if any need be said, and which were not."""
    verb = "is" if len(left_out) == 1 else "are"
    left = f"{quoted(left_out)} {verb} not read" if left_out else ""
    if told := "; ".join(filter(None, [read, left])):
        note(f"{source}: {told}")


def texts_alone(data: Data, task: str, wanted: str) -> Texts:
    """The texts of data that lack the columns `wanted`; raises InputError where there are none."""
    rows = data.table
    if rows and data.columns.text_column is None and not _TEXTS.intersection(rows[0]):
        raise InputError(
            f"{data.name} has the columns {sorted(rows[0])}; {task} is measured on {wanted}, or "
            "compared with another model (--against) on the column text"
        )
    return data.texts(SCORE)


def key(label: str) -> str:
    """What labels are compared by: case does not count, nor do blanks beside one between words."""
    return " ".join(label.lower().split())


def check_labels(names: Iterable[str], source: str) -> None:
    """Raises InputError for a label that no converted model can have, before one is trained on it."""
    for name in names:
        if not is_label(name):
            raise InputError(
                f"{source} has the label {name!r}; each must be one line without control characters: "
                "write another name"
            )


def told_apart(labels: Sequence[str]) -> list[str]:
    """Labels, of which those that others are equal to get their number behind them."""
    counts = Counter(labels)
    return [
        f"{label} ({index})" if counts[label] > 1 else label for index, label in enumerate(labels)
    ]


def check_count(words: Iterable[str], source: str) -> None:
    """Raises InputError for more labels than a classifier can have, before they are sorted, compared
    and learned."""
    found: set[str] = set()
    for word in words:
        found.add(word)
        if len(found) > MOST_LABELS:
            raise InputError(
                f"{source} has more than {MOST_LABELS:,} different labels, the most that a classifier "
                "may have; name the column of the labels with --label-column"
            )


def label_names(words: Iterable[str], source: str) -> list[str]:
    """The labels that occur, sorted; where all are numbers, as these are.

    Raises InputError where two are the same but for case and blanks, and as `check_labels`.
    """
    found = sorted(set(words))
    check_labels(found, source)
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
    keys = map(key, words)
    # No more is kept of others, of which there may be one a row.
    found = {one if one in known or one in indices else "" for one in keys}
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
    unknown = _least(label for label in words if key(label) not in known)
    if unknown:
        raise InputError(
            f"{source} has labels {unknown} that the model does not know; "
            f"its labels are {first_of(names)}; write these, or their numbers from 0"
        )
    return [known[key(label)] for label in words]


def first_of(names: Sequence[str], count: int = 20) -> str:
    """Names for a message, of many the first."""
    more = len(names) - count
    return f"{list(names[:count])}{f' and {more} more' if more > 0 else ''}"


def _least(words: Iterable[str], count: int = 5) -> list[str]:
    """The first of words in the order of sorting, each once."""
    found: list[str] = []
    for word in words:
        if (len(found) < count or word < found[-1]) and word not in found:
            found = sorted([*found, word])[:count]
    return found


def drawn(total: int, labels: Sequence[str] | None, count: int) -> list[int]:
    """The indices of `count` of so many texts, all where there are no more, that stand for the whole.

    They are drawn and ordered at random, always in the same way; each label has its share, of less
    than one by chance.
    """
    generator = np.random.default_rng(0)
    order = generator.permutation(total)
    if labels:
        ranks = np.unique(list(map(key, labels)), return_inverse=True)[1]
        order = order[np.argsort(ranks[order], kind="stable")]
    count = min(count, total)
    places = ((np.arange(count) + generator.random()) * total / max(count, 1)).astype(int)
    found: list[int] = generator.permutation(order[places]).tolist()
    return found


def drawn_together(groups: Sequence[Hashable], count: int) -> list[int]:
    """The indices of about `count` rows, of whole groups alone and at least one; as `drawn`, always the
    same, in their order.

    Args:
        groups: the group of each row.
    """
    kinds = list(dict.fromkeys(groups))
    wanted = max(round(len(kinds) * count / len(groups)), 1)
    chosen = {kinds[index] for index in drawn(len(kinds), None, wanted)}
    return [index for index, group in enumerate(groups) if group in chosen]


def _alike(labels: Iterable[str]) -> tuple[str, str] | None:
    """The first two labels that are the same by `key`."""
    seen: dict[str, str] = {}
    for label in labels:
        if key(label) in seen:
            return seen[key(label)], label
        seen[key(label)] = label
    return None
