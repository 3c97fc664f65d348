"""Text in, the model's input arrays out."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import operator
import unicodedata
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any

import numpy as np
import tokenizers

from tfedge.runtime.errors import (
    ModelFileError,
    PanicError,
    TextError,
    TextTypeError,
    one_line,
)
from tfedge.runtime.special_tokens import find_pad_id, find_unknown_id, named_unknown_id
from tfedge.runtime.truncation import LONGEST_FIRST, is_settled, kept_of_two

# Characters a token that a text is cut to before it is tokenised, see `TextEncoder._encode`.
CHARACTERS_A_TOKEN = 64
# Of a pair, above which it is not left to `tokenizers`: that pairs each part of one text that does not
# fit with each of the other, in gigabytes.
_CHARACTERS_A_TOKEN_OF_PAIRS = 2
# That so few tokens are made of that more would have to be read: a tokeniser takes a hundred bytes for
# each byte, of which normalizers make up to 33 of a character, and a board has little memory.
MAX_CHARACTERS = 1 << 19
# Texts that are tokenised at once, on all cores: their encodings take many times what the ids do.
_BATCH = 8192


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A tokenised text, or pair of texts. Sequences have one item a token, special ones included."""

    ids: list[int]  # vocabulary numbers
    type_ids: list[int]  # 0 in the first text, 1 in the second one
    tokens: list[str]  # the word pieces
    offsets: list[tuple[int, int]]  # (start, end) of a token in the characters of its own text
    # Number of the text that a token is from (0 or 1), None for a special token.
    sequence: list[int | None]
    truncated: bool  # whether a part of the text did not fit
    pad_id: int  # vocabulary number of the padding token
    unknown_id: int | None = None  # that of what stands for unknown words, None if none is named
    unknown_share: float = 0.0  # of the tokens that are not special, 0..1
    # Whether a word's pieces but the first have a mark, as "##" in WordPiece.
    marks_pieces: bool = False
    # Of pairs: (start, end) of the word that a token is of, as `offsets` has that of the token.
    words: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    more: tuple[Encoded, ...] = ()  # what does not fit, again with the question before it

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def windows(self) -> tuple[Encoded, ...]:
        """What the model reads one after the other to answer this; the first one is the longest."""
        return (self, *self.more)

    def positions(self, sequence: int) -> list[int]:
        """Positions of the tokens of text number `sequence`, without special tokens."""
        return [index for index, number in enumerate(self.sequence) if number == sequence]

    def arrays(self, length: int) -> dict[str, np.ndarray]:
        """The inputs of a model by name, a row a window, see `pad`."""
        rows = [np.array([one.ids, one.type_ids], np.int32).T for one in self.windows]
        return pad(rows, length, self.pad_id)


def pad(samples: Sequence[np.ndarray], length: int, pad_id: int) -> dict[str, np.ndarray]:
    """The inputs of a model by name, int32 (len(samples), length) each, padded at the end, of token
    ids of texts, int32 (n,) each, or with token types beside them, int32 (n, 2)."""
    ids = np.full((len(samples), length), pad_id, np.int32)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, sample in enumerate(samples):
        mask[row, : len(sample)] = 1
        if sample.ndim == 2:
            types[row, : len(sample)] = sample[:, 1]
            sample = sample[:, 0]
        ids[row, : len(sample)] = sample
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def is_much(text: str) -> bool:
    """Whether a tokeniser may make more of a text than is to be read of any."""
    return len(unicodedata.normalize("NFKD", text).encode(errors="replace")) > MAX_CHARACTERS


def is_panic(error: BaseException) -> bool:
    """Whether tokenizers gave up; its class, which is no Exception, cannot be imported."""
    return type(error).__name__ == "PanicException"


def _read(content: bytes) -> tokenizers.Tokenizer:
    """The tokeniser of a `tokenizer.json`; raises ModelFileError where there is none in it."""
    try:
        return tokenizers.Tokenizer.from_buffer(content)
    except BaseException as error:  # of bare Exceptions, and panics
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise _unusable(error) from error


def _unusable(error: BaseException) -> ModelFileError:
    return ModelFileError(
        f"tokenizer.json is not understood by tokenizers {tokenizers.__version__}:"
        f" {one_line(error)}; upgrade tokenizers or convert the model again"
    )


class TextEncoder:
    """The tokeniser of a model.

    Attributes:
        pad_id: vocabulary number of the padding token.
        kept: what is left of a text that does not fit, its "beginning" or its "end".
    """

    def __init__(self, tokenizer_json: bytes, max_length: int, pairs: bool = False) -> None:
        """Args:
            tokenizer_json: contents of a `tokenizer.json`.
            max_length: longest result in tokens, special ones included.
            pairs: whether it is for questions and contexts: no text goes alone, and only the context
                is truncated.

        Raises:
            ModelFileError: the `tokenizers` library cannot make a tokeniser of it.
        """
        self._tokenizer = _read(tokenizer_json)
        self.around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        self._max_length = max_length
        self._pairs = pairs
        self.pad_id = find_pad_id(self._tokenizer)
        # What the file says of padding tells that a model knows padding by its token, not by the mask.
        self._reads_padding = bool(self._tokenizer.padding)
        self._unknown_id = find_unknown_id(self._tokenizer)
        self._named_unknown_id = named_unknown_id(self._tokenizer)
        self._marks_pieces = bool(getattr(self._tokenizer.model, "continuing_subword_prefix", None))
        # Where a text is cut is all that counts of what the file says of truncation.
        side = (self._tokenizer.truncation or {}).get("direction", "right")
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()  # padding depends on the signature, see `Encoded.arrays`
        padding = self.token(self.pad_id)
        try:
            # Special tokens around two texts, whichever.
            self._frame = _cells(self._tokenise(padding, padding))
            self._tokenise("a 1")  # what breaks on every text is told before there is one
        except TextError as error:
            raise _unusable(error) from error
        self.kept = "beginning" if side == "right" else "end"
        strategy = "only_second" if pairs else "longest_first"
        self._tokenizer.enable_truncation(max_length, strategy=strategy, direction=side)

    def check_room(self) -> None:
        """Raises ModelFileError where special tokens leave no room for any text."""
        if self._tokenizer.num_special_tokens_to_add(self._pairs) >= self._max_length:
            raise ModelFileError(
                f"tokenizer.json puts more special tokens around a text than the {self._max_length}"
                " tokens that the model takes; convert the model again with another tokeniser"
            )

    def token(self, number: int) -> str:
        """The word piece of a vocabulary number."""
        return self._tokenizer.id_to_token(number) or f"token {number}"

    def encode(
        self, text: str, second: str | None = None, strategy: str = LONGEST_FIRST
    ) -> Encoded:
        """Tokenises a text, or two that are read together, such as a question and its context.

        Args:
            strategy: what is cut of two texts; not of a question and a context.

        Raises TextError where a text is empty, has nothing in it that the tokeniser keeps, or is
        not Unicode; or there is no room for both.
        """
        if self._pairs and second is None:
            raise TextError(
                "the model needs a question and a context; give both (--context, --pair)"
            )
        names = ("question", "context") if self._pairs else ("text", "second text")
        texts = dict(zip(names, (text,) if second is None else (text, second)))
        for name, value in texts.items():
            _check(name, value)
        encoded = self._encode(text, second, strategy)
        self._check_fits(encoded)
        for number, (name, value) in enumerate(texts.items()):
            if number not in encoded.sequence:
                if self._alone(value).ids:
                    raise self._no_room("nothing is left of it")
                raise TextError(f"the {name} has only characters that the tokeniser drops")
        if self._reads_padding and self.pad_id in encoded.ids:
            raise TextError(
                f"there is the token {self.token(self.pad_id)!r} in it, which is padding to the model"
                " wherever it stands; take it out"
            )
        return encoded

    def encode_batch(self, items: Sequence[str | tuple[str, str]]) -> list[np.ndarray]:
        """Tokenises many texts, and pairs of texts, at once, and refuses none.

        A text without tokens, such as an empty one, becomes the special tokens alone. Raises
        TextError where a question leaves no room for its context.

        Returns:
            For `pad`: ids, int32 (n,) each; of pairs with their token types, int32 (n, 2).
        """
        samples = []
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            for item, encoding in zip(batch, self._encode_at_once(batch)):
                self._check_fits(encoding)
                is_text = isinstance(item, str)
                parts = encoding.ids if is_text else [encoding.ids, encoding.type_ids]
                samples.append(np.array(parts, np.int32).T)
        return samples

    def unknown_share(self, samples: Sequence[np.ndarray]) -> float:
        """The share of tokens that stand for unknown words, 0..1, special ones left out, in what
        `encode_batch` gives."""
        ids = np.concatenate([sample.reshape(len(sample), -1)[:, 0] for sample in samples])
        special = [number for number, *_, text in self._frame if text is None]
        own = ids[~np.isin(ids, special)]
        unknown = 0 if self._unknown_id is None else np.count_nonzero(own == self._unknown_id)
        return unknown / max(1, len(own))

    def _encode_at_once(
        self, items: Sequence[str | tuple[str, str]]
    ) -> Iterator[Encoded | tokenizers.Encoding]:
        """As `_encode`, texts that are cut first one by one."""
        texts = [(item,) if isinstance(item, str) else item for item in items]
        is_long = [self._is_long(each) for each in texts]
        short = [item for item, long in zip(items, is_long) if not long]
        found = iter(self._ask(self._tokenizer.encode_batch_fast, short))
        for each, long in zip(texts, is_long):
            yield self._encode(*each) if long else next(found)

    def _is_long(self, texts: Sequence[str]) -> bool:
        """Whether more of these would be tokenised than is cheap."""
        if len(texts) == 2 and not self._pairs:
            limit = _CHARACTERS_A_TOKEN_OF_PAIRS * self._max_length
            return any(len(text) > limit for text in texts)
        return self._head(texts[-1]) is not texts[-1]

    def _head(self, text: str, times: int = 1) -> str:
        """The text, or no more of it than can matter, cut between words."""
        limit = times * self._max_length * CHARACTERS_A_TOKEN
        # Offsets count from the beginning, so that a text whose end is kept is tokenised as a whole.
        is_short = len(text) <= (MAX_CHARACTERS if self.kept == "end" else limit)
        if is_short and not (len(text) > self._max_length * CHARACTERS_A_TOKEN and is_much(text)):
            return text
        if self.kept == "end":
            raise TextError(
                f"the text has {len(text):,} characters, and {MAX_CHARACTERS:,} are allowed where its"
                " end is kept: give its last part"
            )
        if limit > MAX_CHARACTERS or (times > 1 and is_much(text[:limit])):
            read = min(limit, MAX_CHARACTERS)
            raise TextError(
                f"the first {read:,} characters or more are fewer than {self._max_length} tokens: a"
                " word or a blank of such a length is not read"
            )
        head = text[:limit]
        words = head.rsplit(None, 1)
        if len(words) == 2:
            return words[0]
        # Half of the only word after blanks would be another word, while nothing makes more be read.
        return "" if head[:1].isspace() else head

    def _encode(
        self, text: str, second: str | None = None, strategy: str = LONGEST_FIRST
    ) -> Encoded:
        """Tokenises no more of a very long text than can matter.

        A text is cut between words. If what is left still overflows, tokens beyond the cut would
        have been dropped anyway.
        """
        texts = (text,) if second is None else (text, second)
        is_plain_pair = second is not None and not self._pairs
        if is_plain_pair and (strategy != LONGEST_FIRST or self._is_long(texts)):
            return self._encode_pair(texts, strategy)
        for times in itertools.count():
            head = self._head(texts[-1], 4**times)
            encoding = self._tokenise(head) if second is None else self._tokenise(text, head)
            if head is texts[-1] or encoding.overflowing:
                break
        encoded = self._encoded(_cells(encoding), bool(encoding.overflowing))
        return dataclasses.replace(encoded, words=_words(encoding)) if self._pairs else encoded

    def _encode_pair(self, pair: Sequence[str], strategy: str) -> Encoded:
        """Tokenises each text alone, and puts special tokens around what is kept of both."""
        room = self._max_length - self._tokenizer.num_special_tokens_to_add(True)
        for times in itertools.count():
            heads = [self._head(text, 4**times) for text in pair]
            halves = [self._alone(head) for head in heads]
            counts = [sum(map(len, (half, *half.overflowing))) for half in halves]
            is_whole = [head is text for head, text in zip(heads, pair)]
            if is_settled(counts, is_whole, room, strategy):
                break
        try:
            kept = kept_of_two(counts, room, strategy)
        except ValueError as error:
            raise self._no_room(str(error)) from None
        cells: list[tuple[Any, ...]] = []
        for number, around in itertools.groupby(self._frame, key=operator.itemgetter(4)):
            if number is None:
                cells += around
                continue
            own, count, type_id = _cells(halves[number]), kept[number], next(around)[1]
            own = own[:count] if self.kept == "beginning" else own[len(own) - count :]
            cells += [(ids, type_id, *rest, number) for ids, _, *rest, _ in own]
        return self._encoded(cells, sum(kept) < sum(counts))

    def _encoded(self, cells: Sequence[tuple[Any, ...]], truncated: bool) -> Encoded:
        columns = [list(column) for column in zip(*cells)] or [[] for _ in range(5)]
        ids, type_ids, tokens, offsets, sequence = columns
        own = [number for number, text in zip(ids, sequence) if text is not None]
        return Encoded(
            ids,
            type_ids,
            tokens,
            offsets,
            sequence,
            truncated=truncated,
            pad_id=self.pad_id,
            unknown_id=self._named_unknown_id,
            unknown_share=own.count(self._unknown_id) / max(1, len(own)),
            marks_pieces=self._marks_pieces,
        )

    def _tokenise(self, text: str, second: str | None = None) -> tokenizers.Encoding:
        return self._ask(self._tokenizer.encode, text, second)

    def _alone(self, text: str) -> tokenizers.Encoding:
        """A text without special tokens."""
        return self._ask(self._tokenizer.encode, text, add_special_tokens=False)

    def _ask(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Has tokenizers do something; raises TextError where it fails, PanicError where it panics."""
        try:
            with self.around():
                return function(*arguments, **options)
        except Exception as error:  # the library raises this bare type
            raise self._no_room(one_line(error)) from error
        except BaseException as error:
            if not is_panic(error):
                raise
            raise PanicError(f"the tokeniser breaks on it: {one_line(error)}") from error

    def _check_fits(self, encoded: Sized) -> None:
        # `tokenizers` truncates nothing where the special tokens alone are too many.
        if len(encoded) > self._max_length:
            raise self._no_room("the special tokens are more")

    def _no_room(self, reason: str) -> TextError:
        what = (
            "the question leaves no room for the context" if self._pairs else "no room for the text"
        )
        return TextError(f"{what}: {self._max_length} tokens are all the model takes ({reason})")


def _cells(encoding: tokenizers.Encoding) -> list[tuple[Any, ...]]:
    """Of each token what `Encoded` begins with."""
    return list(
        zip(
            encoding.ids,
            encoding.type_ids,
            encoding.tokens,
            encoding.offsets,
            encoding.sequence_ids,
        )
    )


def _words(encoding: tokenizers.Encoding) -> list[tuple[int, int]]:
    """(start, end) of the word of each token, as `Encoding.word_to_chars` has it; a token that is of
    none, such as a special one, is its own."""
    offsets: list[tuple[int, int]] = encoding.offsets
    keys = list(zip(encoding.sequence_ids, encoding.word_ids))
    found: dict[tuple[int | None, int | None], tuple[int, int]] = {}
    for key, (start, end) in zip(keys, offsets):
        found[key] = (found.get(key, (start, end))[0], end)
    return [own if key[1] is None else found[key] for key, own in zip(keys, offsets)]


def _check(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TextTypeError(f"the {name} must be a string, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TextError(f"the {name} is not valid UTF-8") from None
    if not value.strip():
        raise TextError(f"the {name} is empty")
