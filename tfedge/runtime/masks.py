"""Texts with masks in place of words: the model reads the text once for each mask."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from tfedge.runtime.errors import ModelFileError, TextError
from tfedge.runtime.tokenizer import Encoded, TextEncoder
from tfedge.runtime.truncation import LONGEST_FIRST

# How the masks of WordPiece and of byte-level and SentencePiece's vocabularies are written, in one
# length, so that one can stand for the other and offsets stay.
MASKS = ("[MASK]", "<mask>")
ASKED = "asked"  # the input that tells which position is asked


@dataclasses.dataclass(frozen=True)
class Masked(Encoded):
    """A tokenised text with one of its masks asked for; the others are in `more`."""

    asked: int = 0  # the position of the mask
    word: Callable[[int], str] = str  # the text of a vocabulary number

    def arrays(self, length: int) -> dict[str, np.ndarray]:
        """As of a text, with the position at each place of a row."""
        asked = np.array([getattr(one, ASKED) for one in self.windows], np.int32)
        return {**super().arrays(length), ASKED: np.repeat(asked[:, None], length, axis=1)}


class MaskEncoder(TextEncoder):
    """The tokeniser of a model that guesses words; either way of writing a mask is read."""

    def __init__(self, tokenizer_json: bytes, max_length: int) -> None:
        """Args and errors as those of `TextEncoder`; ModelFileError without a mask, too."""
        super().__init__(tokenizer_json, max_length)
        known = [mask for mask in MASKS if self._tokenizer.token_to_id(mask) is not None]
        if not known:
            raise ModelFileError(
                f"tokenizer.json has no token {' or '.join(MASKS)}; take a checkpoint that has"
            )
        self.mask = known[0]
        self._mask_id = self._tokenizer.token_to_id(self.mask)
        if self._mask_id not in self._tokenizer.get_added_tokens_decoder():
            self._tokenizer.add_special_tokens([self.mask])  # or it would be read as three words

    def encode(
        self, text: str, second: str | None = None, strategy: str = LONGEST_FIRST
    ) -> Encoded:
        """Tokenises a text with masks; raises as `TextEncoder.encode`, and where there is none."""
        encoded = super().encode(self._written(text), second, strategy)
        masks = [at for at in encoded.positions(0) if encoded.ids[at] == self._mask_id]
        if not masks:
            where = " in the part that fits" if encoded.truncated else ""
            raise TextError(f"there is no {self.mask}{where}; put it where a word is to be guessed")
        parts = {field.name: getattr(encoded, field.name) for field in dataclasses.fields(encoded)}
        found = [Masked(**parts, asked=at, word=self._word) for at in masks]
        return dataclasses.replace(found[0], more=tuple(found[1:]))

    def encode_batch(self, items: Sequence[str | tuple[str, str]]) -> list[np.ndarray]:
        """As that of `TextEncoder`, with the position of the first mask, or 0, in a third column."""
        texts = [self._written(item) for item in cast("Sequence[str]", items)]
        samples = []
        for ids in super().encode_batch(texts):
            asked = np.full_like(ids, np.argmax(ids == self._mask_id))
            samples.append(np.stack([ids, np.zeros_like(ids), asked], axis=1))
        return samples

    def _written(self, text: str) -> str:
        for mask in MASKS if isinstance(text, str) else ():
            text = text.replace(mask, self.mask)
        return text

    def _word(self, number: int) -> str:
        return str(self._tokenizer.decode([number], skip_special_tokens=False)).strip()
