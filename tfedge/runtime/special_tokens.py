"""Which tokens of a tokeniser stand for padding and for unknown words."""

from __future__ import annotations

import tokenizers

from tfedge.runtime.errors import ModelFileError

_PADDING_TOKENS = ("[PAD]", "<pad>")
_UNKNOWN_TOKENS = ("[UNK]", "<unk>")
MUCH_UNKNOWN = 0.05  # of a text's tokens: above it, users are told


def find_pad_id(tokenizer: tokenizers.Tokenizer) -> int:
    """The vocabulary number of the padding token; raises ModelFileError where there is none."""
    if tokenizer.padding:
        return int(tokenizer.padding["pad_id"])
    for token in _PADDING_TOKENS:
        if (number := tokenizer.token_to_id(token)) is not None:
            return number
    raise ModelFileError(
        f"tokenizer.json has no padding token ({' or '.join(_PADDING_TOKENS)});"
        " give the checkpoint's tokeniser one and convert it again"
    )


def find_unknown_id(tokenizer: tokenizers.Tokenizer) -> int | None:
    """The vocabulary number of what stands for unknown words; None without one."""
    # Byte-level BPE has the token, but knows all words and needs not say which it is.
    names = (getattr(tokenizer.model, "unk_token", None), *_UNKNOWN_TOKENS)
    found = (tokenizer.token_to_id(name) for name in names if name)
    return next((number for number in found if number is not None), None)


def named_unknown_id(tokenizer: tokenizers.Tokenizer) -> int | None:
    """The same where it is a special token too: transformers treats it as one only where it is named
    as the unknown token, and `tfedge.data.tokenizer` writes it down so."""
    number = find_unknown_id(tokenizer)
    token = None if number is None else tokenizer.get_added_tokens_decoder().get(number)
    return number if token is not None and token.special else None
