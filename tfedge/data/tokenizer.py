"""Loads a checkpoint's tokeniser in the form that the board also runs: a `tokenizers` pipeline."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer, normalizers, processors

from tfedge.errors import CheckpointError
from tfedge.models.config import lowercases
from tfedge.runtime.errors import ModelFileError
from tfedge.runtime.tokenizer import TextEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The files that transformers makes a tokeniser of: its own format, WordPiece's, and byte-level BPE's.
_VOCABULARIES = ({"tokenizer.json"}, {"vocab.txt"}, {"vocab.json", "merges.txt"})
# What is tokenised by transformers and by what goes to the board, which must agree: case, accents,
# scripts without blanks, emoji, marks, special tokens in a text, nothing, and more than fits; and pairs
# of texts: short, and with the first, the second or both longer than their share.
_PROBES: tuple[str | tuple[str, str], ...] = (
    "The naïve café in İstanbul and the ΤΕΛΟΣ of 日本語 🐌👍🏽\u200d",
    " don't re-do_it,  e.g. 3.14 %\t#tag\u00a0@you\n",
    "a [MASK] <mask> [SEP] </s> [UNK] [unused1] b",
    "",
    "one two three four five six seven eight nine ten",
    ("one", "two 日本語"),
    ("one two three four five six", "seven"),
    ("one", "two three four five six seven"),
    ("one two three four five six seven", "eight nine ten eleven twelve thirteen"),
)
_PROBE_LENGTHS = (8, 512)


def load_tokenizer(
    folder: str | Path, vocab_size: int | None = None, is_embedding: bool = False
) -> Tokenizer:
    """The tokeniser that transformers makes of a Hugging Face folder, without padding.

    Its `tokenizer.json` alone does not tell: settings of tokenizer_config.json, special_tokens_map.json
    and added_tokens.json come on top. Truncation is set only where it is at the beginning of a text,
    to say so.

    Args:
        vocab_size: rows of the table of embeddings.
        is_embedding: whether sentence-transformers' settings are about the model.

    Raises:
        CheckpointError: the folder has no tokeniser, or one that is damaged, has more tokens than
            `vocab_size`, or does something that a board cannot do.
    """
    try:
        whole = _as_transformers(folder)
        tokenizer: Any = whole.backend_tokenizer
        if not isinstance(tokenizer, Tokenizer):
            raise TypeError("its tokeniser has no fast version")
    # `tokenizers` raises bare Exceptions from Rust, transformers one of several.
    except Exception as error:
        reason = " ".join(str(error).split())  # several lines from transformers
        raise CheckpointError(
            f"{folder} has no usable tokeniser ({reason}); it needs tokenizer.json, or vocab.txt "
            "(of byte-level BPE vocab.json and merges.txt) with tokenizer_config.json"
        ) from error
    count = 1 + max(tokenizer.get_vocab().values(), default=-1)
    if vocab_size is not None and count > vocab_size:
        raise CheckpointError(
            f"{folder} has a tokeniser of {count} tokens, but word embeddings for {vocab_size}; "
            "the tokeniser is another model's"
        )
    expected = [
        (probe, length, _of_transformers(whole, probe, length))
        for probe, length in itertools.product(_PROBES, _PROBE_LENGTHS)
    ]
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if whole.truncation_side == "left":
        tokenizer.enable_truncation(max(_PROBE_LENGTHS), direction="left")
    for probe, length, theirs in expected:
        (ours,) = (found.tolist() for found in encode(tokenizer, [probe], length))
        if ours != theirs:
            raise CheckpointError(
                f"{folder} has a tokeniser that cannot be carried to a board: of {probe!r} "
                f"transformers makes {theirs[:12]}, and its tokenizers pipeline alone {ours[:12]}; "
                "see what tokenizer_config.json asks for besides"
            )
    if is_embedding and lowercases(Path(folder)):
        _lowercase(tokenizer)
    has_types = "token_type_ids" in whole.model_input_names
    return tokenizer if has_types else _without_types(tokenizer, folder)


def _as_transformers(folder: str | Path) -> PreTrainedTokenizerBase:
    present = {path.name for path in Path(folder).iterdir()}
    if not any(files <= present for files in _VOCABULARIES):
        # Of the configuration alone transformers makes a tokeniser that knows no word.
        raise FileNotFoundError(
            "there is neither tokenizer.json, nor vocab.txt, nor vocab.json with merges.txt"
        )
    # Without torch it says at import that it has none.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, use_fast=True, trust_remote_code=False
    )
    return found


def _of_transformers(
    whole: PreTrainedTokenizerBase, probe: str | tuple[str, str], length: int
) -> Any:
    """The ids of a text; those of a pair, each with its token type."""
    texts = (probe,) if isinstance(probe, str) else probe
    found = whole(*texts, truncation=True, max_length=length, return_token_type_ids=True)
    if isinstance(probe, str):
        return found["input_ids"]
    return [list(pair) for pair in zip(found["input_ids"], found["token_type_ids"], strict=True)]


def _lowercase(tokenizer: Tokenizer) -> None:
    """Makes small letters first, as sentence-transformers 6 does for `do_lower_case`."""
    found: Any = tokenizer.normalizer
    is_sequence = isinstance(found, normalizers.Sequence)
    steps: list[Any] = [*found] if is_sequence else [found] if found else []
    if not any(isinstance(step, normalizers.Lowercase) for step in steps):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])


def _without_types(tokenizer: Tokenizer, folder: str | Path) -> Tokenizer:
    """The same with the type 0 for all tokens: transformers then gives the model none.

    Raises CheckpointError where they are no part of a template.
    """
    _frame_by_template(tokenizer)
    content = json.loads(tokenizer.to_str())
    frame = json.dumps(content["post_processor"])
    content["post_processor"] = json.loads(
        frame, object_hook=lambda item: {**item, **({"type_id": 0} if "type_id" in item else {})}
    )
    found = Tokenizer.from_str(json.dumps(content))
    if any(found.encode("a", "a").type_ids):
        raise CheckpointError(
            f"{folder} has a tokeniser that gives token types ({content['post_processor']['type']}), "
            "which model_input_names in tokenizer_config.json leaves out: name token_type_ids there, "
            "or take a TemplateProcessing without them"
        )
    return found


def _frame_by_template(tokenizer: Tokenizer) -> None:
    """Puts a template in place of a `BertProcessing`, which has no types to change."""
    frame = json.loads(tokenizer.to_str())["post_processor"]
    if frame and frame["type"] == "BertProcessing":
        first, end = frame["cls"], frame["sep"]
        single = [first[0], "$A", end[0]]
        tokenizer.post_processor = processors.TemplateProcessing(
            single, [*single, "$B", end[0]], [tuple(first), tuple(end)]
        )


def text_encoder(tokenizer: Tokenizer, max_length: int, pairs: bool = False) -> TextEncoder:
    """The board's own encoder, for texts on the host too; raises CheckpointError without padding.

    Args:
        pairs: as of `TextEncoder`.
    """
    try:
        return TextEncoder(tokenizer.to_str().encode(), max_length, pairs)
    except ModelFileError as error:
        raise CheckpointError(f"the tokeniser cannot be used on a board: {error}") from error


def encode(
    tokenizer: Tokenizer, items: Sequence[str | tuple[str, str]], max_length: int
) -> list[np.ndarray]:
    """Token ids of each text with its special tokens, at most `max_length`, int32 (n,); of a pair of
    texts with their token types, int32 (n, 2)."""
    return text_encoder(tokenizer, max_length).encode_batch(items)


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """The tokens by their ids; an id that no token has is an empty string."""
    ids = tokenizer.get_vocab()
    tokens = [""] * (max(ids.values(), default=-1) + 1)
    for token, index in ids.items():
        tokens[index] = token
    return tokens
