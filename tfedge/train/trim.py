"""Rows of the word table that nobody asks for leave a checkpoint, and their pieces its tokeniser.

What is left has new numbers; special and added tokens stay. The answers to a text of known words all of
whose pieces stay are the same to the last bit (`tfedge.data.pieces` says why). Other texts are cut into
shorter pieces that are left, or have unknown words: how many characters that concerns is measured.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from tokenizers import Tokenizer

from tfedge import files
from tfedge.architectures.base import is_within
from tfedge.data.languages import writing_of
from tfedge.data.pieces import Pieces, chosen
from tfedge.data.recut import Loss, compare
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import load_tokenizer, transformers_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models.folder import CONFIG, TOKENIZER_SETTINGS, WEIGHTS, copy_rest, keep_others
from tfedge.models.stored import Checkpoint
from tfedge.notes import note
from tfedge.progress import MakeBar
from tfedge.train.place import refuse_existing

# What transformers, and older programs, read a vocabulary from besides tokenizer.json.
_OTHER_FORMS = ("vocab.txt", "vocab.json", "merges.txt", "added_tokens.json")
_SENTENCEPIECE = "*.model"
_DECISIONS = "tfedge_*.json"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the model is to be able to read; raises InputError where nothing says it."""

    texts: Texts | None = None  # like those that it will read
    languages: tuple[str, ...] = ()  # codes of ISO 639-1
    vocab_size: int | None = None  # the most rows that may be left

    def __post_init__(self) -> None:
        if self.texts is None and not self.languages:
            raise InputError("say what is to be read: give --keep-texts, --languages, or both")


@dataclasses.dataclass(frozen=True)
class Trimming:
    """What is left of a vocabulary, and what that costs and saves."""

    output: str
    rows_before: int
    rows: int
    used: int | None  # pieces that the texts use; None without texts
    bytes_before: int  # of the weights' files
    bytes: int
    texts: Loss | None
    held_out: Loss | None = None


def trim(
    source: Path,
    output: Path,
    wanted: Wanted,
    evaluation: Texts | None,
    make_bar: MakeBar,
    force: bool = False,
) -> Trimming:
    """Writes a checkpoint with fewer rows in its word table; an HF folder.

    Raises InputError where the output exists, the checkpoint reads images, or so few rows are asked for
    that special tokens take them all; CheckpointError where the tokeniser cannot be cut.

    Args:
        source: the HF folder of the model.
        evaluation: texts besides those of `wanted`, on which the loss is measured.
        force: whether an existing output is replaced.
    """
    refuse_existing(output, force)
    checkpoint = Checkpoint(source)
    checkpoint.config.architecture.check_reads_texts("tfedge trim")
    if (table := _table(checkpoint)) not in checkpoint.names:
        raise CheckpointError(f"{source}: {table} is missing, of which tfedge trim removes rows")
    before = _board_tokenizer(checkpoint)
    pieces = Pieces(before)
    texts = _single(wanted.texts)
    used: list[int] = []
    if texts is not None:
        with make_bar("counting pieces", len(texts)) as bar:
            used = pieces.count(texts.texts, bar.advance)
    kept = _kept(checkpoint, pieces, used, wanted)
    with files.scratch_folder(output) as scratch:
        _write(checkpoint, kept, scratch)
        trimmed = Checkpoint(scratch)
        after = _board_tokenizer(trimmed)
        new = {old: index for index, old in enumerate(kept)}
        losses: list[Loss | None] = []
        for found in (texts, _single(evaluation)):
            if found is None:
                losses.append(None)
                continue
            with make_bar(f"comparing {found.source}", len(found)) as bar:
                losses.append(compare(before, after, new, found, bar.advance))
        keep_others(output, scratch)
        files.replace_folder(scratch, output)
    return Trimming(
        output=str(output),
        rows_before=checkpoint.config.vocab_size,
        rows=len(kept),
        used=len(used) if texts is not None else None,
        bytes_before=sum(path.stat().st_size for path in checkpoint.files),
        bytes=(output / WEIGHTS).stat().st_size,
        texts=losses[0],
        held_out=losses[1],
    )


def _single(texts: Texts | None) -> Texts | None:
    return texts.apart() if texts is not None and texts.are_pairs else texts


def _board_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """The tokeniser as a board runs it."""
    is_embedding = bool(checkpoint.modules)
    return load_tokenizer(checkpoint.folder, checkpoint.config.vocab_size, is_embedding)


def _kept(checkpoint: Checkpoint, pieces: Pieces, used: Sequence[int], wanted: Wanted) -> list[int]:
    """The old numbers of the rows that stay, ascending."""
    config, limit = checkpoint.config, wanted.vocab_size
    # Positions may begin behind the number of the padding token, which therefore must not change.
    needed = {*pieces.needed, *range(config.first_position)}
    named = (number for _, number in _token_numbers(config.source))
    needed |= {number for number in named if number in pieces.by_id}
    if limit is not None and limit < len(needed):
        raise InputError(
            f"--vocab-size is {limit}, and special tokens and others that cannot be left out are "
            f"{len(needed)} already; give more"
        )
    ranked = [*pieces.spelling(used), *used]
    if wanted.languages:
        writing = writing_of(wanted.languages)
        written = [
            index
            for index in pieces.in_order()
            if (text := pieces.text(index)) is not None and writing.has(text)
        ]
        ranked += [*pieces.spelling(written), *written]
    return chosen(pieces, ranked, limit, needed)


def _token_numbers(config: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    """The keys of a config.json that number a token, and the number."""
    for key, value in config.items():
        if key.endswith("_token_id") and isinstance(value, int):
            yield key, value


def _write(checkpoint: Checkpoint, kept: Sequence[int], folder: Path) -> None:
    """Writes all that belongs to the smaller checkpoint."""
    copy_rest(checkpoint.folder, folder)
    new = {old: index for index, old in enumerate(kept)}
    whole = transformers_tokenizer(checkpoint.folder)
    tokenizer = Pieces(whole).cut(kept)
    _write_tokenizer(tokenizer, new, folder)
    architecture, source = checkpoint.config.architecture, dict(checkpoint.config.source)
    for key, number in _token_numbers(source):
        source[key] = new.get(number, number)
    source[architecture.keys.get("vocab_size", "vocab_size")] = len(kept)
    files.write_json(folder / CONFIG, source)
    files.write_bytes(folder / WEIGHTS, save(_tensors(checkpoint, kept), {"format": "pt"}))
    if found := sorted(path.name for path in checkpoint.folder.glob(_DECISIONS)):
        note(
            f"{checkpoint.folder}: {', '.join(found)} is of the whole table and is left behind; "
            "tfedge qad behind tfedge trim makes it anew"
        )


def _write_tokenizer(tokenizer: Tokenizer, new: Mapping[int, int], folder: Path) -> None:
    """Puts the smaller vocabulary in the place of the copied one, in all forms that it had."""
    present = {name for name in _OTHER_FORMS if (folder / name).exists()}
    for path in (*(folder / name for name in present), *folder.glob(_SENTENCEPIECE)):
        path.unlink()
    files.write_bytes(folder / "tokenizer.json", tokenizer.to_str().encode())
    model = json.loads(tokenizer.to_str())["model"]
    if "vocab.txt" in present and model["type"] == "WordPiece":
        by_number = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        lines = "".join(f"{piece}\n" for piece, _ in by_number)
        files.write_bytes(folder / "vocab.txt", lines.encode())
    if {"vocab.json", "merges.txt"} <= present and model["type"] == "BPE":
        files.write_json(folder / "vocab.json", model["vocab"])
        merges = "".join(f"{' '.join(merge)}\n" for merge in model["merges"])
        files.write_bytes(folder / "merges.txt", f"#version: 0.2\n{merges}".encode())
    settings_path = folder / TOKENIZER_SETTINGS
    if settings_path.exists():
        settings = json.loads(settings_path.read_bytes())
        if added := settings.get("added_tokens_decoder"):
            settings["added_tokens_decoder"] = {
                str(new[int(number)]): token
                for number, token in added.items()
                if int(number) in new
            }
            files.write_json(settings_path, settings)


def _table(checkpoint: Checkpoint) -> str:
    """What the weights call the table of words."""
    architecture = checkpoint.config.architecture
    return architecture.tensor_name(checkpoint.config, f"{architecture.embeddings.words}.weight")


def _tensors(checkpoint: Checkpoint, kept: Sequence[int]) -> dict[str, np.ndarray]:
    """All tensors as they are stored, without the rows that leave."""
    architecture, size = checkpoint.config.architecture, checkpoint.config.vocab_size
    found = {}
    for name in sorted(checkpoint.names):
        stored, value = checkpoint.stored(name)
        if name == _table(checkpoint):
            value = value[kept]
        elif is_within(name, architecture.pretraining_heads):
            # Of the heads that give a word: its row in the table once more, or its bias.
            axes = [axis for axis, side in enumerate(value.shape) if side == size]
            if len(axes) > 1:
                raise CheckpointError(
                    f"{checkpoint.folder}: which side of {stored}, {list(value.shape)}, is of the "
                    "vocabulary cannot be known; save the encoder alone, without its head"
                )
            value = np.take(value, kept, axes[0]) if axes else value
        found[stored] = np.ascontiguousarray(value)
    return found
