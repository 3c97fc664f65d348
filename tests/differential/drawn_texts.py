"""Texts that tokenisers may treat differently, for drawn checkpoints."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

_AGAIN = ("unbelievablement " * 3 + "x" * 120, "the film was slow and the soup cold , " * 12)
# Asked of every checkpoint.
ALWAYS = (
    "The film was not good.",
    "a",
    "É",
    "THE CAFÉ IN ZÜRICH, Straße 19: naïve, İstanbul ΤΕΛΟΣ",
    "日本語と東京 這部电影很好 한국 กา",
    "🐌👍🏽 👩‍👩‍👧 x🐌y 😀",
    'don\'t re-do_it,  e.g. 3.14 %\t#tag\u00a0@you\n ("…")',
    "  the  film \r\n was\u2003good \u200b\ufeff\u0000 end ",
    *_AGAIN,
)
_PIECES = (
    *("the", "Film", "WAS", "good", "berlinberg", "Café", "cafe\u0301", "naïve", "zürichs"),
    *(
        "日本",
        "東京is",
        "很好",
        "한국",
        "🐌",
        "👍🏽",
        "👩‍👩‍👧",
        "ﬁlm",
        "①",
        "½",
        "Å",
        "ñ",
        "İ",
        "ß",
        "ς",
        "й",
    ),
    *(
        ".",
        ",",
        "...",
        "!?",
        "'s",
        "n't",
        "--",
        "_",
        "$5.00",
        "#1",
        "3,14",
        "(a)",
        "[b]",
        "<c>",
        "x=y",
    ),
    *("\u00a0", "\t", "\n", "\u2028", "\u200d", "\u0301", "\ufffd", "\u202e", "ab\u00adcd"),
    *("covid", "covid19", "gene", "newyork", "New", "York", "USER", "user", "straße", "STRASSE"),
)
_QUESTIONS = (
    "who was born in Paris ?",
    "where",
    "price ?",
    "Wer ist es, und WO?",
    "日本 ?",
    "🐌🐌",
)
# Heads that may classify two texts together.
PAIRED = ("classes", "several", "numbers", "score")


def draw(chosen: random.Random, head: str, specials: Sequence[str], reads_pairs: bool) -> list[Any]:
    """Texts, and pairs of texts, or pairs of a question and a context.

    Args:
        specials: tokens to spell out in some.
        reads_pairs: whether two texts may be read together, if `head` classifies texts.
    """
    texts = [*ALWAYS, *(_mixture(chosen, specials, 3, 12) for _ in range(5))]
    texts += [_mixture(chosen, specials, 40, 90)]
    if specials:
        texts.append("".join(f" {token}{token} x{token}y" for token in specials))
    if head == "spans":
        # In a context that says a thing several times, many spans are as likely as each other.
        contexts = chosen.sample(
            [text for text in texts if len(text) > 5 and text not in _AGAIN], 7
        )
        return [[chosen.choice(_QUESTIONS), context] for context in contexts]
    if reads_pairs and head in PAIRED:
        texts += [chosen.sample(texts, 2) for _ in range(6)]
    return texts


def _mixture(chosen: random.Random, specials: Sequence[str], least: int, most: int) -> str:
    parts = []
    for _ in range(chosen.randint(least, most)):
        is_special = specials and chosen.random() < 0.15
        parts.append(chosen.choice(specials if is_special else _PIECES))
        parts.append(chosen.choice((" ", " ", " ", "", "  ")))
    return "".join(parts)
