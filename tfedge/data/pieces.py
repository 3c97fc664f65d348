"""The pieces of words that a tokeniser knows: which of them need each other, and the same with fewer.

A text of known words none of whose pieces is removed is cut as before:

- WordPiece takes the longest piece that fits, and the one it took is still the longest.
- BPE merges two neighbours after the other, in the order of its merges. A piece stays only with every
  merge that makes it and with what these merge, so all that made the text's pieces are there, and none
  that were not.
- Unigram takes the pieces of the largest sum of scores, of equal sums the one found first; with fewer
  pieces there are fewer sums, in the same order. What is not known costs 10 more than the least score
  that there is, so that a piece of this score stays: without a character's own piece, leaving it
  unknown costs more than that piece did.
"""

from __future__ import annotations

import functools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers

from tfedge.errors import CheckpointError

# Special tokens that stand in a vocabulary where no file says that they are special.
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "<pad>", "</s>", "<unk>", "<mask>")
_BLANK = "\u2581"  # SentencePiece's
_BYTES = [f"<0x{value:02X}>" for value in range(256)]  # of tokenisers that fall back to bytes
_BATCH = 8192  # texts that are tokenised at once


class Pieces:
    """The vocabulary of a tokeniser.

    Attributes:
        ids: the number of each piece, added tokens too.
        needed: numbers that no text has to use: special and added tokens, the alphabet of bytes, and
            of Unigram a piece of the least score.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._content: dict[str, Any] = json.loads(tokenizer.to_str())
        self._model: dict[str, Any] = self._content["model"]
        self._kind: str = self._model["type"]  # WordPiece, BPE, Unigram or WordLevel
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.needed = self._needed()

    @functools.cached_property
    def by_id(self) -> dict[int, str]:
        """The piece of each number."""
        return {index: piece for piece, index in self.ids.items()}

    @property
    def unknown(self) -> int | None:
        """The number of what stands for the unknown; None without one."""
        if self._kind == "Unigram":
            number: int | None = self._model["unk_id"]
            return number
        return self.ids.get(self._model.get("unk_token") or "")

    @functools.cached_property
    def _is_byte_level(self) -> bool:
        return '"ByteLevel"' in json.dumps(
            [self._content["pre_tokenizer"], self._content["decoder"]]
        )

    def _needed(self) -> frozenset[int]:
        found = {token["id"] for token in self._content["added_tokens"]}
        found |= set(_frame_ids(self._content["post_processor"]))
        names = [*_SPECIAL]
        if self._is_byte_level:
            names += pre_tokenizers.ByteLevel.alphabet()
        if self._model.get("byte_fallback"):
            names += _BYTES
        found |= {self.ids[name] for name in names if name in self.ids}
        if self.unknown is not None:
            found.add(self.unknown)
        if self._kind == "Unigram":
            found.add(int(np.argmin([score for _, score in self._model["vocab"]])))
        return frozenset(found)

    @functools.cached_property
    def _parts(self) -> Mapping[int, set[int]]:
        """What every merge merges that makes a piece, by that."""
        parts: dict[int, set[int]] = defaultdict(set)
        for merge, index in self._merges():
            parts[index] |= {self.ids[part] for part in merge}
        return parts

    def _merges(self) -> Iterator[tuple[tuple[str, str], int]]:
        prefix, _ = self._marks
        for merge in self._model.get("merges", ()):
            first, second = merge.split(" ") if isinstance(merge, str) else merge
            yield (first, second), self.ids[first + second.removeprefix(prefix)]

    def closure(self, index: int) -> set[int]:
        """A piece with all without which it would not be made."""
        found, left = {index}, [index]
        while left:
            new = self._parts.get(left.pop(), set()) - found
            found |= new
            left += new
        return found

    @property
    def _marks(self) -> tuple[str, str]:
        """What is before a piece that does not begin a word, and behind one that ends one."""
        marks = ("continuing_subword_prefix", "end_of_word_suffix")
        prefix, suffix = (self._model.get(mark) or "" for mark in marks)
        return prefix, suffix

    def _unmarked(self, index: int) -> str:
        prefix, suffix = self._marks
        return self.by_id[index].removeprefix(prefix).removesuffix(suffix)

    def spelling(self, indices: Iterable[int]) -> list[int]:
        """The pieces of a single character that others could be spelt with, the most frequent first:
        at the beginning of a word, within, and at its end."""
        counts = Counter(char for index in indices for char in self._unmarked(index))
        prefix, suffix = self._marks
        forms = ("{}", prefix + "{}", "{}" + suffix)
        names = [form.format(char) for char, _ in counts.most_common() for form in forms]
        return [self.ids[name] for name in dict.fromkeys(names) if name in self.ids]

    def text(self, index: int) -> str | None:
        """What a piece stands for in a text; None for bytes that are no whole character."""
        piece = self._unmarked(index)
        if not self._is_byte_level:
            return piece.replace(_BLANK, " ")
        try:
            return bytes(map(_bytes_of_characters().__getitem__, piece)).decode()
        except (KeyError, UnicodeDecodeError):
            return None

    def in_order(self) -> list[int]:
        """All, in the vocabulary's own order, which is roughly by frequency: of Unigram the largest
        score first, of others the smallest number."""
        indices = sorted(self.by_id)
        if self._kind != "Unigram":
            return indices
        scores = [score for _, score in self._model["vocab"]]
        return sorted(indices, key=lambda index: -scores[index] if index < len(scores) else 0)

    def count(self, texts: Sequence[str], advance: Callable[[int], None]) -> list[int]:
        """The numbers of pieces that texts use, the most frequent first."""
        counts = np.zeros(max(self.by_id) + 1, np.int64)
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            for found in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                np.add.at(counts, found.ids, 1)
            advance(len(batch))
        order = np.argsort(-counts, kind="stable")
        return [int(index) for index in order if counts[index]]

    def cut(self, kept: Sequence[int]) -> Tokenizer:
        """The tokeniser with these pieces alone, numbered anew in their order.

        Raises CheckpointError where tokenizers would number them otherwise.

        Args:
            kept: ascending, closed under `closure`, `needed` among them; numbers that no piece has
                are left free.
        """
        new = {old: index for index, old in enumerate(kept)}
        content = json.loads(json.dumps(self._content))
        model = content["model"]
        if self._kind == "Unigram":
            model["vocab"] = [item for old, item in enumerate(model["vocab"]) if old in new]
            model["unk_id"] = new.get(model["unk_id"])
        else:
            known = model["vocab"].items()
            model["vocab"] = {piece: new[old] for piece, old in known if old in new}
        if self._kind == "BPE":
            model["merges"] = [list(merge) for merge, made in self._merges() if made in new]
        for token in content["added_tokens"]:
            token["id"] = new[token["id"]]
        if content["post_processor"]:
            _renumber_frame(content["post_processor"], new)
        if content["padding"]:
            content["padding"]["pad_id"] = new[content["padding"]["pad_id"]]
        made = Tokenizer.from_str(json.dumps(content))
        expected = {piece: new[old] for piece, old in self.ids.items() if old in new}
        if made.get_vocab() != expected:
            raise CheckpointError(
                "the numbers of the tokeniser's added tokens leave gaps, which tokenizers would close "
                "in a smaller vocabulary; this one cannot be cut"
            )
        return made


def chosen(pieces: Pieces, ranked: Iterable[int], limit: int | None, needed: set[int]) -> list[int]:
    """The pieces that stay, ascending: what is `needed`, and of those `ranked` as many as `limit` has
    room for, each with its closure."""
    kept = set(needed)
    for index in ranked:
        more = pieces.closure(index) - kept
        if limit is None or len(kept) + len(more) <= limit:
            kept |= more
    return sorted(kept)


def _frame_ids(frame: Any) -> Iterator[int]:
    """The numbers of special tokens that a post-processor puts around texts."""
    for holder, key in _numbers_in(frame):
        yield holder[key]


def _renumber_frame(frame: Any, new: Mapping[int, int]) -> None:
    for holder, key in _numbers_in(frame):
        holder[key] = new[holder[key]]


def _numbers_in(frame: Any) -> Iterator[tuple[Any, Any]]:
    """Where in a post-processor the number of a token stands: what holds it, and its key there."""
    if not isinstance(frame, dict):
        return
    for part in frame.get("processors", ()):
        yield from _numbers_in(part)
    for key in ("sep", "cls"):  # of BertProcessing and RobertaProcessing: a token, its number
        if key in frame:
            yield frame[key], 1
    if isinstance(frame.get("special_tokens"), dict):  # of TemplateProcessing
        for token in frame["special_tokens"].values():
            yield from ((token["ids"], place) for place in range(len(token["ids"])))


@functools.cache
def _bytes_of_characters() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for: itself where it can be seen,
    the others in order from 256 on, as in GPT-2's encoder."""
    seen = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in seen]
    return {chr(value): value for value in seen} | {
        chr(256 + place): value for place, value in enumerate(others)
    }
