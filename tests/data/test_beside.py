"""Files beside tokenizer.json that ask for memory or time are refused before they are read."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import toy_folders
import toys

from tfedge.data.tokenizer import check_tokenizer
from tfedge.errors import CheckpointError

SIZE = len(toys.VOCABULARY)
_MANY = [f"q{number}" for number in range(100_000)]
_BY_NUMBER = {str(number): {"content": f"q{number}"} for number in range(60_000)}
# A file's name and content -> what is said of it.
FILES: dict[str, tuple[str, str, str]] = {
    "words": (
        "vocab.txt",
        "\n".join(_MANY),
        "100,000 words or more, and there are embeddings for 9",
    ),
    "a word": ("vocab.txt", "x" * (9 << 20), "vocab.txt has more than 8,388,608 bytes"),
    "numbers": ("vocab.json", json.dumps(dict.fromkeys(_MANY, 0)), "66,000 words or more"),
    "merges": ("merges.txt", "a b\n" * (3 << 20), "merges.txt has more than 8,388,608 bytes"),
    "special": (
        "special_tokens_map.json",
        json.dumps({"additional_special_tokens": _MANY}),
        "has 100,000 entries in one list; 20,000 are allowed",
    ),
    "decoder": (
        "tokenizer_config.json",
        json.dumps({"added_tokens_decoder": _BY_NUMBER}),
        "has 60,000 entries in one list",
    ),
    "added": ("added_tokens.json", json.dumps(dict.fromkeys(_MANY, 0)), "has 100,000 entries"),
    "a token": (
        "tokenizer_config.json",
        json.dumps({"pad_token": {"content": "x" * 100_000}}),
        "has a text of 100,000 characters; 65,536 are allowed",
    ),
    "a key": (
        "special_tokens_map.json",
        json.dumps({"x" * 100_000: 1}),
        "has a text of 100,000 char",
    ),
    "settings": ("tokenizer_config.json", " " * (5 << 20) + "{}", "more than 4,194,304 bytes"),
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = toy_folders.write_folder(tmp_path_factory.mktemp("toy") / "c", small=True)
    (folder / "tokenizer.json").unlink()
    return folder


@pytest.mark.parametrize("kind", FILES)
def test_refused(kind: str, toy: Path, tmp_path: Path) -> None:
    name, content, message = FILES[kind]
    shutil.copytree(toy, tmp_path / "c")
    (tmp_path / "c" / name).write_text(content)
    started = time.process_time()
    with pytest.raises(CheckpointError, match=message):
        check_tokenizer(tmp_path / "c", SIZE)
    assert time.process_time() - started < 5


def test_what_is_left_from_another_tokeniser_does_not_count(toy: Path, tmp_path: Path) -> None:
    """A vocab.txt beside tokenizer.json, which is read in its place; nor do templates of chats."""
    shutil.copytree(toy, tmp_path / "c")
    (tmp_path / "c/tokenizer.json").write_bytes(toys.tokenizer_json())
    (tmp_path / "c/vocab.txt").write_text("\n".join(_MANY))
    settings = json.dumps({"chat_template": "x" * 100_000})
    (tmp_path / "c/tokenizer_config.json").write_text(settings)
    check_tokenizer(tmp_path / "c", SIZE)
