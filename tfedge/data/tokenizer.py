"""Loads a checkpoint's tokeniser in the form that the board also runs: a `tokenizers` pipeline."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer, normalizers

from tfedge import files
from tfedge.architectures.fields import read_json
from tfedge.data.beside import check_beside
from tfedge.data.token_types import has_types, without_types
from tfedge.data.unframed import unframed_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models.config import lowercases
from tfedge.models.folder import CONFIG, TOKENIZER_SETTINGS
from tfedge.models.untyped import model_type_of
from tfedge.notes import note
from tfedge.quiet import without_output
from tfedge.runtime.bundle import MAX_ARCHIVE_BYTES  # which a tokenizer.json goes into
from tfedge.runtime.errors import ModelFileError, TextError
from tfedge.runtime.quiet import quiet_start
from tfedge.runtime.special_tokens import find_unknown_id
from tfedge.runtime.tokenizer import TextEncoder, is_panic
from tfedge.runtime.trial import try_tokenizer

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
_SENTENCEPIECE = "*.model"  # XLM-RoBERTa's and CamemBERT's is sentencepiece.bpe.model
_PHOBERT = "bpe.codes"
# What RoFormer's tokeniser calls, by Python, and its class.
_JIEBA, _JIEBA_CLASS = "rjieba", "RoFormerTokenizer"


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
    check_tokenizer(Path(folder), vocab_size)
    if (unframed := unframed_tokenizer(Path(folder))) is not None:
        return unframed
    _refuse_slow(Path(folder))
    with _refusing(folder), without_output(), quiet_start():
        return _carried(Path(folder), vocab_size, is_embedding)


@contextlib.contextmanager
def _refusing(folder: str | Path) -> Iterator[None]:
    """Raises as CheckpointError whatever transformers or tokenizers raise of a folder: bare Exceptions
    from Rust, panics, a RecursionError where the unknown token is unknown."""
    try:
        yield
    except CheckpointError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise _refusal(folder, error) from error


def _carried(folder: Path, vocab_size: int | None, is_embedding: bool) -> Tokenizer:
    """The tokeniser of transformers as boards run it; see `load_tokenizer`."""
    whole = _as_transformers(folder)
    if type(whole).__name__.startswith(_JIEBA_CLASS):
        raise ImportError(_JIEBA)
    tokenizer: Any = whole.backend_tokenizer
    if not isinstance(tokenizer, Tokenizer):
        raise TypeError("its tokeniser has no fast version")
    _check_count(folder, 1 + max(tokenizer.get_vocab().values(), default=-1), vocab_size)
    expected = [
        (probe, length, _of_transformers(whole, probe, length))
        for probe, length in itertools.product(_PROBES, _PROBE_LENGTHS)
    ]
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if whole.truncation_side == "left":
        tokenizer.enable_truncation(max(_PROBE_LENGTHS), direction="left")
    for probe, length, theirs in expected:
        try:
            (ours,) = (found.tolist() for found in encode(tokenizer, [probe], length))
        except TextError as error:
            raise CheckpointError(
                f"{folder} has a tokeniser that cannot be carried to a board: of {probe!r} {error}"
            ) from error
        if ours != theirs:
            raise CheckpointError(
                f"{folder} has a tokeniser that cannot be carried to a board: of {probe!r} "
                f"transformers makes {theirs[:12]}, and its tokenizers pipeline alone {ours[:12]}; "
                "see what tokenizer_config.json asks for besides"
            )
    if is_embedding and lowercases(folder):
        _lowercase(tokenizer)
    tokenizer = _with_named_unknown(tokenizer, whole)
    return tokenizer if has_types(folder, whole) else without_types(tokenizer, folder)


def transformers_tokenizer(folder: str | Path) -> Tokenizer:
    """What transformers itself makes of a folder that `load_tokenizer` has read, for one that is to be
    written: nothing in it is yet as boards need it."""
    if (unframed := unframed_tokenizer(Path(folder))) is not None:
        return unframed
    with _refusing(folder), without_output(), quiet_start():
        found: Tokenizer = _as_transformers(folder).backend_tokenizer
    return found


def check_tokenizer(folder: Path, vocab_size: int | None) -> None:
    """Raises CheckpointError, before transformers reads anything, where the tokenizer.json of a folder
    cannot be used, or a file beside it: it breaks, say, or asks for gigabytes; see
    `tfedge.runtime.trial`."""
    path = folder / "tokenizer.json"
    try:
        for other in folder.iterdir():
            files.check_regular(other)
        check_beside(folder, vocab_size)
        count = try_tokenizer(files.read_bytes(path, MAX_ARCHIVE_BYTES)) if path.exists() else 0
    except InputError as error:
        raise (
            error if isinstance(error, CheckpointError) else CheckpointError(str(error))
        ) from error
    except ModelFileError as error:
        raise _unusable(folder, str(error)) from error
    _check_count(folder, count, vocab_size)


def _refusal(folder: str | Path, error: BaseException) -> CheckpointError:
    """What to say where transformers makes no tokeniser of a folder that boards run."""
    reason = " ".join(str(error).split())  # several lines from transformers
    if _JIEBA in reason:
        return CheckpointError(
            f"{folder} has RoFormer's tokeniser, which cuts words by jieba, that no board runs: take a "
            "RoFormer that was trained with another tokeniser, such as BertTokenizer, and has that as "
            "tokenizer_class in tokenizer_config.json"
        )
    if type(error).__name__.startswith("StrictDataclass"):  # of config.json, which it reads first
        return CheckpointError(
            f"{folder}: config.json is not as transformers takes it: {reason}; mend it there"
        )
    return _unusable(folder, reason)


def _unusable(folder: str | Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{folder} has no usable tokeniser ({reason}); it needs tokenizer.json, or vocab.txt "
        "(of byte-level BPE vocab.json and merges.txt) with tokenizer_config.json"
    )


def _check_count(folder: str | Path, count: int, vocab_size: int | None) -> None:
    if vocab_size is not None and count > vocab_size:
        raise CheckpointError(
            f"{folder} has a tokeniser of {count} tokens, but word embeddings for {vocab_size}; "
            "the tokeniser is another model's"
        )


def _refuse_slow(folder: Path) -> None:
    """Raises CheckpointError where all that a folder has of its tokeniser is in a form that only other
    libraries read, with the way to one that a board does."""
    if (folder / "tokenizer.json").exists():
        return
    if (folder / _PHOBERT).exists():
        raise CheckpointError(
            f"{folder} has a tokeniser as PhoBERT's ({_PHOBERT}), which has no fast form, so that no "
            "board can run it: take an encoder of your language with a tokenizer.json, such as "
            "FacebookAI/xlm-roberta-base, and train it with tfedge finetune"
        )
    found = sorted(path.name for path in folder.glob(_SENTENCEPIECE))
    if found and not _has_vocabulary(folder):
        raise CheckpointError(
            f"{folder} has its tokeniser in {found[0]} alone, a model of SentencePiece, which is not "
            "read: make tokenizer.json of it once, where transformers, sentencepiece and protobuf are "
            "installed, by AutoTokenizer.from_pretrained(folder).save_pretrained(folder), or take the "
            "one that the hub has beside it"
        )


def _has_vocabulary(folder: Path) -> bool:
    present = {path.name for path in folder.iterdir()}
    return any(needed <= present for needed in _VOCABULARIES)


def _as_transformers(folder: str | Path) -> PreTrainedTokenizerBase:
    if not _has_vocabulary(Path(folder)):
        # Of the configuration alone transformers makes a tokeniser that knows no word.
        raise FileNotFoundError(
            "there is neither tokenizer.json, nor vocab.txt, nor vocab.json with merges.txt"
        )
    # Without torch it says at import that it has none.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        str(folder),
        local_files_only=True,
        use_fast=True,
        trust_remote_code=False,
        tokenizer_type=_untold_type(Path(folder)),
    )
    found = _of_file(Path(folder), found)
    _refuse_wordless(found)
    return found


def _untold_type(folder: Path) -> str | None:
    """The model_type where no file says whose tokeniser it is: transformers would look for one in the
    name of the folder."""
    contents = [
        read_json(path) if (path := folder / name).is_file() else {}
        for name in (CONFIG, TOKENIZER_SETTINGS)
    ]
    if not all(isinstance(content, dict) for content in contents):
        return None  # which transformers tells
    config, settings = contents
    if config.get("model_type") or config.get("tokenizer_class") or settings.get("tokenizer_class"):
        return None
    found = model_type_of(folder, config)
    return found if isinstance(found, str) else None


def _of_file(folder: Path, found: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """What transformers has made of a folder, or the tokenizer.json as it is where that is of another
    kind: of a Unigram under a BertModel, say, transformers 5 makes a WordPiece that knows no word."""
    from transformers import PreTrainedTokenizerFast

    path = folder / "tokenizer.json"
    if not path.exists() or not hasattr(found, "backend_tokenizer"):
        return found
    backend: Any = found.backend_tokenizer
    made, own = (type(one.model).__name__ for one in (backend, Tokenizer.from_file(str(path))))
    if made == own:
        return found
    note(
        f"{folder}: tokenizer.json is a {own}, and transformers 5 makes a {made} of it, by the class "
        f'{type(found).__name__}; it is taken as it is, as transformers 4 does. "tokenizer_class": '
        f'"PreTrainedTokenizerFast" in {TOKENIZER_SETTINGS} has both read it so'
    )
    whole: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(
        str(folder), local_files_only=True
    )
    return whole


def _refuse_wordless(found: PreTrainedTokenizerBase) -> None:
    """Raises ValueError where transformers has found none of the files that its class reads."""
    if set(found.get_vocab()) <= {*found.all_special_tokens}:
        raise ValueError(
            f"transformers makes a {type(found).__name__} of it, which knows no word: its files are "
            "those of another class"
        )


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


def _with_named_unknown(tokenizer: Tokenizer, whole: PreTrainedTokenizerBase) -> Tokenizer:
    """The same with the unknown token special where transformers knows it as that, and only there: what
    it tells words apart by, see `tfedge.runtime.entities`. The flag does nothing else to a text."""
    number = find_unknown_id(tokenizer)
    found = None if number is None else tokenizer.get_added_tokens_decoder().get(number)
    is_named = number == whole.unk_token_id
    if found is None or found.special == is_named:
        return tokenizer
    content = json.loads(tokenizer.to_str())
    for token in content["added_tokens"]:
        if token["id"] == number:
            token["special"] = is_named
    return Tokenizer.from_str(json.dumps(content))


def text_encoder(tokenizer: Tokenizer, max_length: int, pairs: bool = False) -> TextEncoder:
    """The board's own encoder, for texts on the host too; raises CheckpointError without padding.

    Args:
        pairs: as of `TextEncoder`.
    """
    try:
        return TextEncoder(tokenizer.to_str().encode(), max_length, pairs)
    except ModelFileError as error:
        raise CheckpointError(f"the tokeniser cannot be used on a board: {error}") from error


def answering_encoder(tokenizer: Tokenizer, max_length: int, pairs: bool) -> TextEncoder:
    """As `text_encoder`; of questions and contexts one that gives all windows of a context."""
    if not pairs:
        return text_encoder(tokenizer, max_length)
    from tfedge.runtime.windows import PairEncoder

    try:
        return PairEncoder(tokenizer.to_str().encode(), max_length)
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
