"""Word pieces and their labels to entities, as the TokenClassificationPipeline of transformers does it.

Labels are in IOB, B-X and I-X, or name a type without a scheme. An entity goes on while the type stays
the same and no B- begins another; what has the type O is left out. Before that a strategy may give all
pieces of a word one label.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from tfedge.runtime.tokenizer import Encoded

NONE, SIMPLE = "none", "simple"
OUTSIDE = "O"

# Strategy -> the scores of a word, (labels,), of those of its pieces, (pieces, labels).
_OF_WORDS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "first": operator.itemgetter(0),
    "average": lambda scores: scores.mean(0),
    "max": lambda scores: scores[scores.max(1).argmax()],
}
STRATEGIES = (NONE, SIMPLE, *_OF_WORDS)


class _Word(NamedTuple):
    """What has one label: a word, or with the strategy `simple` a word piece."""

    label: str
    score: np.floating  # float32
    start: int
    end: int


def find(
    logits: np.ndarray, encoded: Encoded, text: str, labels: Sequence[str], strategy: str
) -> list[dict[str, Any]]:
    """The entities of a text in order.

    Words are told apart as in transformers. Where the tokeniser marks the pieces within a word, as
    WordPiece, a piece begins one if it is as long as its text, and so does an unknown piece. Where it
    does not, as byte-level BPE, a piece begins one if it has a blank in front of it or at its
    beginning: a full stop then belongs to the word before it. The strategies that ask for words give
    a UserWarning of that.

    Args:
        logits: (tokens or more, labels); of padding too.
        encoded: of the text.
        strategy: one of `STRATEGIES` but "none". "simple" takes each piece by itself; the others give
            a word the label of its first piece, the one that is likeliest by the mean of its pieces'
            probabilities, or that of the piece which is surest of its own.

    Returns:
        {"type", "text", "score", "start", "end"} each: the type without B- or I-, a slice of the
        text, the mean probability of its words or pieces, and offsets in characters.
    """
    # In float32 as there: which of two labels or pieces wins may depend on what is rounded away.
    scores = _softmax32(logits)
    positions = encoded.positions(0)
    if strategy == SIMPLE:
        groups, choose = [[position] for position in positions], _OF_WORDS["first"]
    else:
        groups, choose = _words(encoded, text, positions), _OF_WORDS[strategy]
    words = []
    for group in groups:
        chosen = choose(scores[group])
        best = int(chosen.argmax())
        start, end = encoded.offsets[group[0]][0], encoded.offsets[group[-1]][1]
        words.append(_Word(labels[best], chosen[best], start, end))
    found = (_entity(group, text) for group in _side_by_side(words))
    return [entity for entity in found if entity["type"] != OUTSIDE]


def _softmax32(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis, float32."""
    import numpy as np

    logits = logits.astype(np.float32)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _words(encoded: Encoded, text: str, positions: Sequence[int]) -> list[list[int]]:
    """The positions of each word's pieces."""
    if not encoded.marks_pieces:
        warnings.warn(
            "the tokeniser does not mark words: what has no blank in front of it is taken to continue"
            " one, punctuation too",
            UserWarning,
            stacklevel=2,
        )
    words: list[list[int]] = []
    for position in positions:
        if words and _continues(encoded, text, position):
            words[-1].append(position)
        else:
            words.append([position])
    return words


def _continues(encoded: Encoded, text: str, position: int) -> bool:
    """Whether a piece belongs to the word before it."""
    if encoded.ids[position] == encoded.unknown_id:
        return False
    start, end = encoded.offsets[position]
    if encoded.marks_pieces:
        # Special tokens that a text spells out may have the blanks around them.
        return len(encoded.tokens[position].strip()) != end - start
    return start > 0 and " " not in text[start - 1 : start + 1]


def _side_by_side(words: Sequence[_Word]) -> list[list[_Word]]:
    """Words in groups, each of one type."""
    groups: list[list[_Word]] = []
    before = None
    for word in words:
        mark, name = _mark_and_type(word.label)
        if mark == "B" or name != before:
            groups.append([])
        groups[-1].append(word)
        before = name
    return groups


def _mark_and_type(label: str) -> tuple[str, str]:
    """ "B" or "I", and the rest; a label that has neither goes on like I-."""
    return (label[0], label[2:]) if label.startswith(("B-", "I-")) else ("I", label)


def _entity(words: Sequence[_Word], text: str) -> dict[str, Any]:
    import numpy as np

    start, end = words[0].start, words[-1].end
    return {
        "type": words[0].label.split("-", 1)[-1],
        "text": text[start:end],
        "score": float(np.mean([word.score for word in words])),
        "start": start,
        "end": end,
    }
