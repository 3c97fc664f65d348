"""Makes an XLM-RoBERTa of random weights whose vocabulary is of many languages.

    pip download --no-deps --dest wheels django==5.2.19 && unzip -q wheels/django-*.whl -d django
    python tests/train/many_languages.py django FOLDER

The texts are the translations of Django's own messages into 100 languages. In FOLDER are the checkpoint
`many`, the German and English messages `held.tsv`, and half of these, `calibration.tsv`.
"""

from __future__ import annotations

import argparse
import gettext
import re
import sys
from collections import defaultdict
from pathlib import Path

for place in ("..", "../models"):
    sys.path.insert(0, str(Path(__file__).parent / place))

import cases  # noqa: E402
import unigram  # noqa: E402

ROWS = 100_000
ENCODER = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12}
LANGUAGES = ("de", "en")


def messages(django: Path) -> dict[str, list[str]]:
    """The texts of each language, without what stands for values in them; English ones are the keys."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(django.rglob("*.mo")):
        with path.open("rb") as file:
            catalog: dict[object, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        for key, text in catalog.items():
            english = key if isinstance(key, str) else key[0] if isinstance(key, tuple) else ""
            if english:
                found["en"].add(_plain(english))
                found[path.parts[-3]].add(_plain(text))
    return {language: sorted(filter(None, texts)) for language, texts in sorted(found.items())}


def _plain(text: str) -> str:
    text = text.rpartition("\x04")[2]  # behind the context
    return " ".join(re.sub(r"%\(\w+\)\w|%\w|<[^>]*>|\{[^}]*\}", " ", text).split())


def write(django: Path, folder: Path) -> None:
    """Writes the checkpoint and the tables of texts."""
    texts = messages(django)
    made = unigram.tokenizer(texts=[text for each in texts.values() for text in each], size=ROWS)
    config = {**cases.CONFIGS["xlm-roberta"], **ENCODER, "intermediate_size": 1536}
    config |= {"vocab_size": made.get_vocab_size(), "max_position_embeddings": 130}
    cases.random_checkpoint(folder / "many", config, "sentence-embedding", 1)
    unigram.write(folder / "many")
    made.save(str(folder / "many" / "tokenizer.json"))
    held = [text for code in LANGUAGES for text in texts[code] if len(text.split()) > 4]
    for name, part in (("held", held[::2]), ("calibration", held[1::2])):
        lines = "".join(f"{text}\n" for text in ("text", *part))
        (folder / f"{name}.tsv").write_text(lines, encoding="utf-8")
    print(f"{len(texts)} languages, {made.get_vocab_size():,} rows, {len(held)} texts")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("django", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    write(given.django, given.folder)
