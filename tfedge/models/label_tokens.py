"""Turns labels into tokens as the tokenisers of CLIP and SigLIP do in transformers' pipeline."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from tfedge import files
from tfedge.architectures.fields import read_object
from tfedge.errors import CheckpointError, InputError
from tfedge.models.folder import TOKENIZER, TOKENIZER_SETTINGS
from tfedge.runtime.bundle import MAX_ARCHIVE_BYTES  # which a tokenizer.json goes into
from tfedge.runtime.errors import ModelFileError
from tfedge.runtime.trial import try_tokenizer

_PADDED = 64  # tokens; of transformers' pipeline, for any SigLIP
_CLASS = "SiglipTokenizer"
_END = "</s>"  # and the padding, where nothing else is said
_MASK = "attention_mask"
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def tokens(folder: Path, texts: Sequence[str], most: int) -> list[np.ndarray]:
    """The tokens of each text, int64 (n,), at most so many; raises CheckpointError where the tokeniser
    cannot be read."""
    return _encoded(_tokenizer(folder), texts, most)


def padded_tokens(
    folder: Path, texts: Sequence[str], most: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The tokens of each text as a SigLIP's tokeniser makes them, of small letters and no punctuation,
    padded to one length: int64 (n,), and which of them are seen, bool (n,).

    Raises CheckpointError where it is another tokeniser, or cannot be read.
    """
    settings = read_object(folder / TOKENIZER_SETTINGS, "--labels are turned into tokens by it")
    _check(settings)
    tokenizer, length = _tokenizer(folder), min(most, _PADDED)
    end, padding = (_special(tokenizer, settings, key) for key in ("eos_token", "pad_token"))
    has_mask = _MASK in settings.get("model_input_names", (_MASK,))
    found = []
    for row in _encoded(tokenizer, [canonical(text, settings) for text in texts], length):
        if not len(row) or row[-1] != end:
            raise CheckpointError(
                f"{folder / TOKENIZER} puts no {_END} behind a text, as every siglip has it; take the "
                "file that the hub has beside its weights"
            )
        seen = np.arange(length) < (len(row) if has_mask else length)
        found.append((np.pad(row, (0, length - len(row)), constant_values=padding), seen))
    return found


def canonical(text: str, settings: Mapping[str, Any]) -> str:
    """A text as SigLIP was trained on it: in small letters, without punctuation."""
    text = (text.lower() if settings.get("do_lower_case", True) else text).translate(_PUNCTUATION)
    return re.sub(r"\s+", " ", text).strip()


def _check(settings: Mapping[str, Any]) -> None:
    """Raises CheckpointError for a tokeniser that prepares texts in another way."""
    named = settings.get("tokenizer_class", _CLASS)
    if named != _CLASS:
        raise CheckpointError(
            f"{TOKENIZER_SETTINGS}: tokenizer_class is {named!r:.80}; --labels are read by a {_CLASS} "
            "alone, so take a checkpoint of the first SigLIP"
        )
    if settings.get("padding_side", "right") != "right":
        raise CheckpointError(
            f"{TOKENIZER_SETTINGS}: padding_side is {settings['padding_side']!r:.80}; it must be right"
        )
    for key, kind in (("do_lower_case", bool), ("model_input_names", list)):
        if key in settings and not isinstance(settings[key], kind):
            raise CheckpointError(
                f"{TOKENIZER_SETTINGS}: {key} is {settings[key]!r:.80}; it must be a {kind.__name__}"
            )


def _tokenizer(folder: Path) -> Tokenizer:
    path = folder / TOKENIZER
    try:
        content = files.read_bytes(path, MAX_ARCHIVE_BYTES)
        try_tokenizer(content)  # it may break, hang or take all memory, see `tfedge.runtime.trial`
    except InputError as error:
        raise CheckpointError(f"{error}; --labels are turned into tokens by it") from error
    except ModelFileError as error:
        raise CheckpointError(
            f"{path} cannot be used, which turns --labels into tokens: {error}"
        ) from error
    tokenizer = Tokenizer.from_buffer(content)
    tokenizer.no_padding()
    return tokenizer


def _encoded(tokenizer: Tokenizer, texts: Sequence[str], most: int) -> list[np.ndarray]:
    tokenizer.enable_truncation(most)
    return [np.array(tokenizer.encode(text).ids) for text in texts]


def _special(tokenizer: Tokenizer, settings: Mapping[str, Any], key: str) -> int:
    """The number of a token that tokenizer_config.json names."""
    named = settings.get(key) or _END
    content = named.get("content") if isinstance(named, Mapping) else named
    found = tokenizer.token_to_id(content) if isinstance(content, str) else None
    if found is None:
        raise CheckpointError(
            f"{TOKENIZER_SETTINGS}: {key} is {named!r:.80}; it must be a token of {TOKENIZER}"
        )
    return int(found)
