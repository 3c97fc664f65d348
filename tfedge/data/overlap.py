"""What makes figures of a training better than they are: texts that it has seen, labels that differ."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.notes import note
from tfedge.tasks import columns
from tfedge.tasks.base import Rows

_SHARE = 10  # of the rows one in so many is held out, where nobody brings others
_ENOUGH = 100  # rows, of which some can be spared
_SHOWN = 40  # characters of a text, in a message


def held_apart(rows: Rows, together: Sequence[Hashable] | None = None) -> tuple[Rows, Rows | None]:
    """The rows to train on and, of enough of them, some to measure on, of each label its share.

    They are always the same ones. A row whose text stands among the others too is none of them.

    Args:
        together: of each row what those have alike that stay together, as the query of a list of
            candidates; a tenth of these is drawn then, whatever their labels.
    """
    if len(rows) < _ENOUGH:
        return rows, None
    if together is not None and len(set(together)) < _SHARE:
        return rows, None
    chosen = set(rows.drawn(len(rows) // _SHARE, together))
    keys, how = _keys(rows), "drawn by their labels"
    if together is not None:
        lists = len({together[index] for index in chosen})
        keys, how = together, f"{lists} whole lists of candidates"
    seen = {key for index, key in enumerate(keys) if index not in chosen}
    held = sorted(index for index in chosen if keys[index] not in seen)
    if not held:
        return rows, None
    kept = sorted(set(range(len(rows))) - set(held))
    note(
        f"{len(held)} of the {len(rows)} rows of {rows.source}, {how}, are measured on "
        "and not trained on, and the weights that do best there are kept; give --eval others, or "
        "--eval none to train on all"
    )
    return rows.part(kept), rows.part(held)


def tell_overlap(rows: Rows, held_out: Rows) -> None:
    """Notes texts that are measured on and trained on too."""
    places = {key: index for index, key in enumerate(_keys(rows))}
    found = [places[key] for key in _keys(held_out) if key in places]
    if found:
        note(
            f"{len(found)} of the {len(held_out)} rows of {held_out.source} are in {rows.source} too, "
            f"the first as row {found[0] + 1} ({_shown(rows, found[0])}): a model that has learnt them "
            "by heart looks better than it is; leave them out of one"
        )


def tell_same_images(rows: Rows, held_out: Rows) -> None:
    """Notes images, by their paths, that are measured on and trained on too, whatever the files are
    called."""
    places = {digest: path for path in rows.items if (digest := _digest(path))}
    found = [(path, places[one]) for path in held_out.items if (one := _digest(path)) in places]
    if found:
        note(
            f"{len(found)} of the {len(held_out)} images of {held_out.source} are in {rows.source} "
            f"too, the first is {found[0][1]}: a model that has learnt them by heart looks better "
            "than it is; leave them out of one"
        )


def _digest(path: str) -> str | None:
    try:
        return files.sha256(Path(path))
    except OSError:  # which is told when it is read
        return None


def tell_contradictions(rows: Rows) -> None:
    """Notes texts that stand in the rows several times with different truths."""
    first: dict[Hashable, int] = {}
    found = []
    for index, key in enumerate(_keys(rows)):
        before = first.setdefault(key, index)
        if rows.truth is not None and rows.truth[before] != rows.truth[index]:
            found.append((before, index))
    if found:
        before, index = found[0]
        note(
            f"{len(found)} rows of {rows.source} have the text of an earlier one with another label, "
            f"row {index + 1} that of row {before + 1} ({_shown(rows, index)}): one of them is wrong"
        )


def _keys(rows: Rows) -> Sequence[Hashable]:
    """What rows are compared by: neither case nor blanks count."""
    items = [_key(item) for item in rows.items]
    count = rows.items_a_row
    return [tuple(items[start : start + count]) for start in range(0, len(items), count)]


def _key(item: Any) -> Hashable:
    return tuple(map(columns.key, item)) if isinstance(item, tuple) else columns.key(str(item))


def _shown(rows: Rows, index: int) -> str:
    item = rows.items[index * rows.items_a_row]
    text = " | ".join(item) if isinstance(item, tuple) else str(item)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
