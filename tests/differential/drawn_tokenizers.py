"""Tokenisers of a few hundred tokens for drawn checkpoints, and the files that hold them."""

from __future__ import annotations

import functools
import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

WORDS = (
    *("the", "film", "was", "not", "good", "Berlin", "Paris", "in", "a", "The", "ada", "Ada"),
    *("café", "naïve", "Zürich", "cafe", "and", "of", "is", "it", "who", "where", "born", "price"),
    *("very", "slow", "end", "début", "soup", "cold", "study", "world", "gene", "covid"),
)
_ENDINGS = ("s", "ing", "ed", "er", "ly", "ment", "é", "ü", "'", "19", "berg")
_SIGNS = ".,;:!?'\"()-_#@%&*/+=<>[]{}$€°…–“”"
_SCRIPTS = "éüßçñİıΣσςάжйאב日本東京電影很好한국กา"
_EMOJI = "🐌😀👍"
_LETTERS = (*string.ascii_lowercase, *string.ascii_uppercase, *string.digits)
UNUSED = tuple(f"[unused{index}]" for index in range(6))

# Role in transformers -> token, as families of models have them, in the order of their ids.
BERT_ROLES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
ROBERTA_ROLES = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
}
MPNET_ROLES = {**ROBERTA_ROLES, "unk_token": "[UNK]"}
ALBERT_ROLES = {**BERT_ROLES, "pad_token": "<pad>", "unk_token": "<unk>"}


@functools.cache
def _wordpieces(specials: tuple[str, ...], cased: bool) -> dict[str, int]:
    words = WORDS if cased else tuple(dict.fromkeys(word.lower() for word in WORDS))
    characters = (*_LETTERS, *_SIGNS, *_SCRIPTS, *_EMOJI)
    pieces = [*specials, *UNUSED, *words, *characters]
    pieces += [f"##{piece}" for piece in (*_ENDINGS, *_LETTERS, *_SCRIPTS)]
    return {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}


def wordpiece(roles: Mapping[str, str], cased: bool, **options: Any) -> Tokenizer:
    """WordPiece; `options` are those of BertNormalizer."""
    vocabulary = _wordpieces(tuple(dict.fromkeys(roles.values())), cased)
    made = Tokenizer(models.WordPiece(dict(vocabulary), unk_token=roles["unk_token"]))
    made.normalizer = normalizers.BertNormalizer(**{"lowercase": not cased, **options})
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    _finish(made, roles, doubled="bos_token" in roles, types=True)
    return made


@functools.cache
def _merges() -> str:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    made.train_from_iterator([" ".join(WORDS), *(f" {word}" for word in WORDS)] * 3, trainer)
    return made.to_str()


def byte_level(add_prefix_space: bool, trim_offsets: bool) -> Tokenizer:
    """Byte-level BPE as RoBERTa's."""
    made = Tokenizer.from_str(_merges())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=trim_offsets, add_prefix_space=add_prefix_space
    )
    _add(made, ROBERTA_ROLES)
    return made


def unigram(prepend_scheme: str) -> Tokenizer:
    """Unigram in the manner of SentencePiece, with XLM-RoBERTa's special tokens."""
    made = _unigram(("<s>", "<pad>", "</s>", "<unk>"), "<mask>")
    made.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend_scheme)
    made.decoder = decoders.Metaspace(prepend_scheme=prepend_scheme)
    _finish(made, ROBERTA_ROLES, doubled=True, types=False)
    return made


def albert(lower: bool, accents: bool) -> Tokenizer:
    """The same with ALBERT's tokens and what it does to a text first."""
    made = _unigram(("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"))
    steps: list[normalizers.Normalizer] = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
    ]
    if not accents:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if lower:
        steps.append(normalizers.Lowercase())
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    _finish(made, ALBERT_ROLES, doubled=False, types=True)
    return made


def _unigram(first: Sequence[str], *last: str) -> Tokenizer:
    # Scores that make words likelier than their letters, and no two ways of a word equally likely.
    pieces = [*((token, 0.0) for token in first), ("▁", -4.03)]
    words = dict.fromkeys(f"▁{word}" for word in WORDS)
    pieces += [(word, -3 - 0.37 * index / len(words)) for index, word in enumerate(words)]
    pieces += [(ending, -5 - index / 17) for index, ending in enumerate(_ENDINGS)]
    known = {piece for piece, _ in pieces}
    letters = [one for one in (*_LETTERS, *_SIGNS, *_SCRIPTS, *_EMOJI) if one not in known]
    pieces += [(letter, -7 - index / 101) for index, letter in enumerate(letters)]
    pieces += [(token, 0.0) for token in last]
    return Tokenizer(models.Unigram(pieces, first.index("<unk>"), False))


def _finish(made: Tokenizer, roles: Mapping[str, str], doubled: bool, types: bool) -> None:
    first, last = roles["cls_token"], roles["sep_token"]
    between = f"{last} {last}" if doubled else last
    second = ":1" if types and not doubled else ""
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {between} $B{second} {last}{second}",
        special_tokens=[(token, made.token_to_id(token)) for token in (first, last)],
    )
    _add(made, roles)


def _add(made: Tokenizer, roles: Mapping[str, str]) -> None:
    tokens = [
        AddedToken(token, lstrip=role == "mask_token" and "bos_token" in roles, special=True)
        for role, token in roles.items()
    ]
    made.add_special_tokens(tokens)


def save(made: Tokenizer, folder: Path, whole: bool, vocabulary: bool) -> None:
    """Writes tokenizer.json where `whole`, and the files of the vocabulary."""
    if whole:
        made.save(str(folder / "tokenizer.json"))
    if not vocabulary:
        return
    kind = type(made.model).__name__
    if kind == "WordPiece":
        by_id: Sequence[str] = sorted(made.get_vocab(with_added_tokens=False), key=made.token_to_id)
        (folder / "vocab.txt").write_text("".join(f"{t}\n" for t in by_id), encoding="utf-8")
    elif kind == "BPE":
        content = json.loads(made.to_str())["model"]
        (folder / "vocab.json").write_text(json.dumps(content["vocab"]), encoding="utf-8")
        pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in content["merges"]]
        lines = ["#version: 0.2", *pairs]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
