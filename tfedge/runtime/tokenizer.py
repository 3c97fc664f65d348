"""Text in, the model's input arrays out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tokenizers

from tfedge.runtime.errors import ModelFileError, TextError, one_line

_PADDING_TOKENS = ("[PAD]", "<pad>")
_UNKNOWN_TOKENS = ("[UNK]", "<unk>")
# Characters a token that a text is cut to before it is tokenised, see `TextEncoder._encode`.
_CHARACTERS_A_TOKEN = 64
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
    unknown_id: int | None = None  # that of what stands for unknown words, None without one
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


def find_pad_id(tokenizer: tokenizers.Tokenizer) -> int:
    """The vocabulary number of the padding token; raises ModelFileError where there is none."""
    if tokenizer.padding:
        return int(tokenizer.padding["pad_id"])
    for token in _PADDING_TOKENS:
        if (number := tokenizer.token_to_id(token)) is not None:
            return number
    raise ModelFileError(
        f"tokenizer.json has no padding token ({' or '.join(_PADDING_TOKENS)});"
        " convert the model again"
    )


def _find_unknown_id(tokenizer: tokenizers.Tokenizer) -> int | None:
    # Byte-level BPE has the token, but knows all words and needs not say which it is.
    names = (getattr(tokenizer.model, "unk_token", None), *_UNKNOWN_TOKENS)
    found = (tokenizer.token_to_id(name) for name in names if name)
    return next((number for number in found if number is not None), None)


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
            pairs: whether two texts are encoded together; only the second one is then truncated.

        Raises:
            ModelFileError: the `tokenizers` library cannot make a tokeniser of it.
        """
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(tokenizer_json)
        except Exception as error:  # the library raises this bare type
            raise ModelFileError(
                f"tokenizer.json is not understood by tokenizers {tokenizers.__version__}:"
                f" {one_line(error)}; upgrade tokenizers or convert the model again"
            ) from error
        self._max_length = max_length
        self._pairs = pairs
        self.pad_id = find_pad_id(self._tokenizer)
        self._unknown_id = _find_unknown_id(self._tokenizer)
        self._marks_pieces = bool(getattr(self._tokenizer.model, "continuing_subword_prefix", None))
        self._tokenizer.no_padding()  # padding depends on the signature, see `Encoded.arrays`
        # Where a text is cut is all that counts of what the file says of truncation.
        side = (self._tokenizer.truncation or {}).get("direction", "right")
        self.kept = "beginning" if side == "right" else "end"
        strategy = "only_second" if pairs else "longest_first"
        self._tokenizer.enable_truncation(max_length, strategy=strategy, direction=side)

    def token(self, number: int) -> str:
        """The word piece of a vocabulary number."""
        return self._tokenizer.id_to_token(number) or f"token {number}"

    def encode(self, text: str, context: str | None = None) -> Encoded:
        """Tokenises a text, or a question and its context.

        Raises TextError where a text is empty, has nothing in it that the tokeniser keeps, or is
        not Unicode; or the question leaves no room for the context.
        """
        if self._pairs != (context is not None):
            raise TextError(
                "the model needs a question and a context"
                if self._pairs
                else "the model needs one text, not a question and a context"
            )
        names = ("question", "context") if self._pairs else ("text",)
        for name, value in zip(names, (text, context)):
            _check(name, value)
        encoding = self._encode(text, context)
        encoded = Encoded(
            ids=encoding.ids,
            type_ids=encoding.type_ids,
            tokens=encoding.tokens,
            offsets=encoding.offsets,
            sequence=encoding.sequence_ids,
            truncated=bool(encoding.overflowing),
            pad_id=self.pad_id,
            unknown_id=self._unknown_id,
            marks_pieces=self._marks_pieces,
            words=_words(encoding) if self._pairs else [],
        )
        for number, name in enumerate(names):
            if number not in encoded.sequence:
                if encoded.truncated:
                    raise TextError(
                        f"the question leaves no room for the context: {self._max_length} tokens"
                        " are all the model takes"
                    )
                raise TextError(f"the {name} has only characters that the tokeniser drops")
        return encoded

    def encode_batch(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> list[np.ndarray]:
        """Tokenises many texts, or pairs of texts, at once, and refuses none.

        A text without tokens, such as an empty one, becomes the special tokens alone. Raises
        TextError where the first text of a pair leaves no room for the second.

        Returns:
            For `pad`: ids, int32 (n,) each; of pairs with their token types, int32 (n, 2).
        """
        samples = []
        for start in range(0, len(texts), _BATCH):
            for encoding in self._encode_at_once(texts[start : start + _BATCH]):
                parts = [encoding.ids, encoding.type_ids] if self._pairs else encoding.ids
                samples.append(np.array(parts, np.int32).T)
        return samples

    def _encode_at_once(
        self, texts: Sequence[str] | Sequence[tuple[str, str]]
    ) -> list[tokenizers.Encoding]:
        """As `_encode`, texts that are cut first one by one."""
        pairs = [(text, None) if isinstance(text, str) else text for text in texts]
        is_long = [self._is_long(*pair) for pair in pairs]
        short = [text for text, long in zip(texts, is_long) if not long]
        try:
            found = iter(self._tokenizer.encode_batch_fast(short))
        except Exception as error:  # the library raises this bare type
            raise self._no_room(error) from error
        return [self._encode(*pair) if long else next(found) for pair, long in zip(pairs, is_long)]

    def _is_long(self, text: str, context: str | None) -> bool:
        last = text if context is None else context
        # Offsets count from the beginning, so that a text whose end is kept is tokenised as a whole.
        return self.kept == "beginning" and len(last) > self._max_length * _CHARACTERS_A_TOKEN

    def _encode(self, text: str, context: str | None) -> tokenizers.Encoding:
        """Tokenises no more of a very long text than can matter.

        A text is cut between words. If what is left still overflows, tokens beyond the cut would
        have been dropped anyway.
        """
        if self._is_long(text, context):
            last = text if context is None else context
            head = "".join(last[: self._max_length * _CHARACTERS_A_TOKEN].rsplit(None, 1)[:1])
            encoding = self._tokenise(head, None) if context is None else self._tokenise(text, head)
            if encoding.overflowing:
                return encoding
        return self._tokenise(text, context)

    def _tokenise(self, text: str, context: str | None) -> tokenizers.Encoding:
        try:
            return self._tokenizer.encode(text, context)
        except Exception as error:  # the library raises this bare type
            raise self._no_room(error) from error

    def _no_room(self, error: Exception) -> TextError:
        what = "the question leaves no room for the context" if self._pairs else "the text"
        return TextError(
            f"{what}: {self._max_length} tokens are all the model takes ({one_line(error)})"
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
        raise TextError(f"the {name} must be a string, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TextError(f"the {name} is not valid UTF-8") from None
    if not value.strip():
        raise TextError(f"the {name} is empty")
