"""Loads a checkpoint's tokeniser in the form that the board also runs: a `tokenizers` pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from tfedge.errors import CheckpointError


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokeniser of a Hugging Face folder, without truncation or padding set.

    A folder with only a `vocab.txt` is converted by transformers.

    Raises:
        CheckpointError: the folder has no tokeniser, or one that is damaged.
    """
    path = Path(folder) / "tokenizer.json"
    try:
        if path.is_file():
            tokenizer = Tokenizer.from_file(str(path))
        else:
            tokenizer = _convert(folder)
    # `tokenizers` raises bare Exceptions from Rust, transformers one of several.
    except Exception as error:
        raise CheckpointError(
            f"{folder} has no usable tokeniser ({error}); it needs tokenizer.json, or vocab.txt "
            "with tokenizer_config.json"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _convert(folder: str | Path) -> Tokenizer:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, use_fast=True)
    backend = tokenizer.backend_tokenizer
    if not isinstance(backend, Tokenizer):
        raise TypeError("its tokeniser has no fast form")
    return backend


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[np.ndarray]:
    """Token ids of each text with its special tokens, at most `max_length`, as int32 arrays."""
    tokenizer.enable_truncation(max_length)
    encodings = tokenizer.encode_batch_fast(list(texts))
    tokenizer.no_truncation()
    return [np.asarray(encoding.ids, np.int32) for encoding in encodings]


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """The tokens in the order of their ids."""
    return [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
