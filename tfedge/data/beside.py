"""Files of a tokeniser that transformers reads by itself: their sizes are checked before it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.architectures.fields import read_json
from tfedge.errors import CheckpointError
from tfedge.models.folder import TOKENIZER, TOKENIZER_SETTINGS

_VOCABULARY = 8 << 20  # bytes; LaBSE's, of 500,000 words, takes 5 MB
_WORDS, _BY_WORD = "vocab.txt", "vocab.json"
_ADDED = "added_tokens.json"
_SETTINGS = (TOKENIZER_SETTINGS, "special_tokens_map.json", _ADDED)
# What one list or object of settings may have: transformers compares each token with all others. And
# characters of a string, a template of chats apart, which nobody here fills.
_MOST_TOKENS, _LONGEST = 20_000, 1 << 16
_CHATS = "chat_template"
# Some words have a colon in them, as JSON has one for each.
_COLONS, _MORE_COLONS = 1.5, 1000


def check_beside(folder: Path, vocab_size: int | None) -> None:
    """Raises InputError for files with more than any tokeniser's, CheckpointError for a vocabulary of
    more words than an encoder has: each takes hundreds of bytes once it is read, and time."""
    for name in _SETTINGS:
        if (folder / name).exists():
            _check_settings(folder / name)
    contents = {
        name: files.read_bytes(folder / name, _VOCABULARY)
        for name in (_WORDS, _BY_WORD, "merges.txt")
        if (folder / name).exists()
    }
    if vocab_size is None or (folder / TOKENIZER).exists():
        return
    counts = {}
    if _WORDS in contents:
        counts[_WORDS] = contents[_WORDS].rstrip().count(b"\n") + 1
    if _BY_WORD in contents:
        counts[_BY_WORD] = int((contents[_BY_WORD].count(b":") - _MORE_COLONS) / _COLONS)
    for name, count in counts.items():
        if count > vocab_size:
            raise CheckpointError(
                f"{folder / name} has {count:,} words or more, and there are embeddings for "
                f"{vocab_size:,}; the tokeniser is another model's"
            )


def _check_settings(path: Path) -> None:
    pending: list[Any] = [read_json(path)]
    if not isinstance(pending[0], dict):
        raise CheckpointError(
            f"{path} is a JSON {type(pending[0]).__name__}; it must be an object, as transformers "
            "writes it"
        )
    while pending:
        found = pending.pop()
        if isinstance(found, (dict, list)) and len(found) > _MOST_TOKENS:
            raise CheckpointError(
                f"{path} has {len(found):,} entries in one list; {_MOST_TOKENS:,} are allowed, for a "
                "tokeniser has few tokens beside its vocabulary"
            )
        if isinstance(found, str) and len(found) > _LONGEST:
            raise CheckpointError(
                f"{path} has a text of {len(found):,} characters; {_LONGEST:,} are allowed, and no "
                "token needs more"
            )
        if isinstance(found, dict):
            pending += [*found, *(value for key, value in found.items() if key != _CHATS)]
        elif isinstance(found, list):
            pending += found
