"""Loads a checkpoint's tokeniser in the form that the board also runs: a `tokenizers` pipeline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from tfedge.errors import CheckpointError
from tfedge.runtime.errors import ModelFileError
from tfedge.runtime.tokenizer import TextEncoder

# The files that transformers makes a tokeniser of: of WordPiece, and of byte-level BPE.
_VOCABULARIES = ({"vocab.txt"}, {"vocab.json", "merges.txt"})


def load_tokenizer(folder: str | Path, vocab_size: int | None = None) -> Tokenizer:
    """The tokeniser of a Hugging Face folder, without truncation or padding set.

    A folder with only a `vocab.txt`, or `vocab.json` and `merges.txt`, is converted by
    transformers. Raises CheckpointError where the folder has no tokeniser, or one that is damaged
    or has more tokens than the embedding table has rows, `vocab_size`.
    """
    path = Path(folder) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path)) if path.is_file() else _convert(folder)
    # `tokenizers` raises bare Exceptions from Rust, transformers one of several.
    except Exception as error:
        reason = " ".join(str(error).split())  # several lines from transformers
        raise CheckpointError(
            f"{folder} has no usable tokeniser ({reason}); it needs tokenizer.json, or vocab.txt "
            "(of byte-level BPE vocab.json and merges.txt) with tokenizer_config.json"
        ) from error
    count = len(vocabulary(tokenizer))
    if vocab_size is not None and count > vocab_size:
        raise CheckpointError(
            f"{folder} has a tokeniser of {count} tokens, but word embeddings for {vocab_size}; "
            "the tokeniser is another model's"
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _convert(folder: str | Path) -> Tokenizer:
    present = {path.name for path in Path(folder).iterdir()}
    if not any(files <= present for files in _VOCABULARIES):
        # Of the configuration alone transformers makes a tokeniser that knows no word.
        raise FileNotFoundError(
            "there is neither tokenizer.json, nor vocab.txt, nor vocab.json with merges.txt"
        )
    # Without torch it says at import that it has none.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, use_fast=True)
    backend = tokenizer.backend_tokenizer
    if not isinstance(backend, Tokenizer):
        raise TypeError("its tokeniser has no fast version")
    return backend


def text_encoder(tokenizer: Tokenizer, max_length: int, pairs: bool = False) -> TextEncoder:
    """The board's own encoder, for texts on the host too; raises CheckpointError without padding."""
    try:
        return TextEncoder(tokenizer.to_str().encode(), max_length, pairs)
    except ModelFileError as error:
        raise CheckpointError(f"the tokeniser cannot be used on a board: {error}") from error


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[np.ndarray]:
    """Token ids of each text with its special tokens, at most `max_length`, as int32 arrays."""
    return text_encoder(tokenizer, max_length).encode_batch(texts)


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """The tokens by their ids; an id that no token has is an empty string."""
    ids = tokenizer.get_vocab()
    tokens = [""] * (max(ids.values(), default=-1) + 1)
    for token, index in ids.items():
        tokens[index] = token
    return tokens
