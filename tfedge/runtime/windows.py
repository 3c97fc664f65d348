"""A question and a context that is longer than the model: the model reads it in overlapping windows."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfedge.runtime.errors import TextError
from tfedge.runtime.tokenizer import (
    CHARACTERS_A_TOKEN,
    Encoded,
    TextEncoder,
    is_much,
)
from tfedge.runtime.truncation import LONGEST_FIRST

MAX_OVERLAP = 128  # tokens of the context that two windows share; transformers' `doc_stride`
# More would take hours, and the memory of a board: a token of a context takes half a kilobyte.
MAX_WINDOWS = 512
MAX_CHARACTERS = 1 << 17


class PairEncoder(TextEncoder):
    """The tokeniser of a model that reads pairs: all of the context, in as many windows as it takes.

    As the question answering pipeline of transformers 4 cuts it: each window is the question and a
    part of the context, and shares half the model's length, at most `MAX_OVERLAP` tokens, with the
    one before.
    """

    def __init__(self, tokenizer_json: bytes, max_length: int) -> None:
        """Args and errors as those of `TextEncoder`; `max_length` is that of a window."""
        super().__init__(tokenizer_json, MAX_WINDOWS * max_length, pairs=True)
        self._window = max_length

    def encode(
        self, text: str, second: str | None = None, strategy: str = LONGEST_FIRST
    ) -> Encoded:
        """Tokenises a question and its context; raises as `TextEncoder.encode`, and where the context
        takes too many windows."""
        for name, given, most in (
            # Of more the tokens leave no room for the context, or are of no language.
            ("question", text, self._window * CHARACTERS_A_TOKEN),
            ("context", second, MAX_CHARACTERS),
        ):
            if isinstance(given, str) and (len(given) > most or is_much(given)):
                raise TextError(
                    f"the {name} has {len(given)} characters and {most} are allowed, fewer of those"
                    " that are taken apart: give it in parts"
                )
        whole = super().encode(text, second, strategy)
        if len(whole) <= self._window and not whole.truncated:
            return whole
        first, *windows = self._cut(whole)
        return dataclasses.replace(first, more=tuple(windows))

    def _cut(self, whole: Encoded) -> list[Encoded]:
        context = whole.positions(1)
        begin, end = context[0], context[-1] + 1
        room = self._window - (len(whole) - (end - begin))
        if room < 1:
            raise TextError(
                f"the question leaves no room for the context: {self._window} tokens are all the"
                " model takes"
            )
        # A question that leaves little room would have windows move on by a token, or not at all.
        overlap = min(self._window // 2, MAX_OVERLAP, room * 7 // 8)
        starts = range(begin, max(begin + 1, end - overlap), room - overlap)
        if whole.truncated or len(starts) > MAX_WINDOWS:
            raise TextError(
                f"the context takes more than {MAX_WINDOWS} windows of {self._window} tokens, the"
                " question in each: give it in parts"
            )
        windows = [(start, min(start + room, end)) for start in starts]
        if self.kept == "end":  # they are counted from there
            windows = [(begin + end - stop, begin + end - start) for start, stop in windows]
        return [_window(whole, (begin, end), window) for window in windows]


def _window(whole: Encoded, context: tuple[int, int], kept: tuple[int, int]) -> Encoded:
    """The context from position kept[0] to kept[1], with what is around the whole of it.

    Of a word that the window cuts only the part in it counts, as in transformers.
    """
    fields: dict[str, Any] = {
        name: [*value[: context[0]], *value[slice(*kept)], *value[context[1] :]]
        for name, value in vars(whole).items()
        if isinstance(value, list)
    }
    first, last = whole.offsets[kept[0]][0], whole.offsets[kept[1] - 1][1]
    fields["words"][context[0] : context[0] + kept[1] - kept[0]] = [
        (max(start, first), min(end, last)) for start, end in whole.words[slice(*kept)]
    ]
    return dataclasses.replace(whole, **fields)
