"""Text in, the model's input arrays out."""

from __future__ import annotations

import dataclasses

import numpy as np
import tokenizers

from tfedge.runtime.errors import ModelFileError, TextError, one_line

_PADDING_TOKENS = ("[PAD]", "<pad>")
# Characters a token that a text is cut to before it is tokenised, see `TextEncoder._encode`.
_CHARACTERS_A_TOKEN = 64


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A tokenised text, or pair of texts. Sequences have one item a token, special ones included.

    Attributes:
        ids: vocabulary numbers.
        type_ids: 0 in the first text, 1 in the second one.
        tokens: the word pieces.
        offsets: (start, end) of a token in the characters of its own text.
        sequence: number of the text that a token is from (0 or 1), None for a special token.
        truncated: whether the end of the text did not fit.
        pad_id: vocabulary number of the padding token.
    """

    ids: list[int]
    type_ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]
    sequence: list[int | None]
    truncated: bool
    pad_id: int

    def __len__(self) -> int:
        return len(self.ids)

    def positions(self, sequence: int) -> list[int]:
        """Positions of the tokens of text number `sequence`, without special tokens."""
        return [index for index, number in enumerate(self.sequence) if number == sequence]

    def arrays(self, length: int) -> dict[str, np.ndarray]:
        """The inputs of a model by name, int32 (1, length) each, padded at the end."""
        rows = {
            "input_ids": (self.ids, self.pad_id),
            "attention_mask": ([1] * len(self), 0),
            "token_type_ids": (self.type_ids, 0),
        }
        arrays = {}
        for name, (values, padding) in rows.items():
            arrays[name] = np.full((1, length), padding, np.int32)
            arrays[name][0, : len(values)] = values
        return arrays


class TextEncoder:
    """The tokeniser of a model."""

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
        self._pad_id = self._find_pad_id()
        self._tokenizer.no_padding()  # padding depends on the signature, see `Encoded.arrays`
        self._tokenizer.enable_truncation(
            max_length, strategy="only_second" if pairs else "longest_first"
        )

    def _find_pad_id(self) -> int:
        if self._tokenizer.padding:
            return int(self._tokenizer.padding["pad_id"])
        for token in _PADDING_TOKENS:
            if (number := self._tokenizer.token_to_id(token)) is not None:
                return number
        raise ModelFileError(
            f"tokenizer.json has no padding token ({' or '.join(_PADDING_TOKENS)});"
            " convert the model again"
        )

    def encode(self, text: str, context: str | None = None) -> Encoded:
        """Tokenises a text, or a question and its context.

        Raises:
            TextError: a text is empty, has nothing in it that the tokeniser keeps, or is not
                Unicode; or the question leaves no room for the context.
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
            pad_id=self._pad_id,
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

    def _encode(self, text: str, context: str | None) -> tokenizers.Encoding:
        """Tokenises no more of a very long text than can matter.

        A text is cut between words. If what is left still overflows, tokens beyond the cut would
        have been dropped anyway.
        """
        last = text if context is None else context
        if len(last) > (limit := self._max_length * _CHARACTERS_A_TOKEN):
            head = "".join(last[:limit].rsplit(None, 1)[:1])
            encoding = self._tokenise(head, None) if context is None else self._tokenise(text, head)
            if encoding.overflowing:
                return encoding
        return self._tokenise(text, context)

    def _tokenise(self, text: str, context: str | None) -> tokenizers.Encoding:
        try:
            return self._tokenizer.encode(text, context)
        except Exception as error:  # the library raises this bare type
            what = "the question leaves no room for the context" if self._pairs else "the text"
            raise TextError(
                f"{what}: {self._max_length} tokens are all the model takes ({one_line(error)})"
            ) from error


def _check(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TextError(f"the {name} must be a string, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TextError(f"the {name} is not valid UTF-8") from None
    if not value.strip():
        raise TextError(f"the {name} is empty")
