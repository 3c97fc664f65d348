"""What published models are asked: texts of many languages, scripts and lengths, pairs, questions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import drawn_texts

from tfedge.data.texts import package_texts

COUNT = 50
LANGUAGES = (
    "Angela Merkel met Barack Obama in Berlin before the Champions League final.",
    "Der Zug nach Zürich fährt um acht, aber Frau Müller-Lüdenscheidt kommt zu spät.",
    "L'été dernier, François a acheté une œuvre d'art à l'Hôtel Drouot.",
    "¿Dónde está la biblioteca? ¡Mañana viene el señor Núñez!",
    "Il caffè di Trieste è più buono, perché lì c'è il mare.",
    "O João não quis ir à praia de São Paulo; choveu.",
    "Zażółć gęślą jaźń w Łodzi.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Türkiye'nin başkenti Ankara'dır, İstanbul değil.",
    "Η Αθήνα είναι όμορφη τον χειμώνα.",
    "Москва не сразу строилась, сказал Иван Петрович.",
    "ירושלים של זהב ושל נחושת ושל אור.",
    "القاهرة مدينة كبيرة جدا على النيل.",
    "दिल्ली भारत की राजधानी है।",
    "กรุงเทพมหานครเป็นเมืองหลวง",
    "東京は日本の首都です。京都ではありません。",
    "北京是中国的首都，上海很大。",
    "서울은 한국의 수도입니다.",
    "Việt Nam có thủ đô là Hà Nội.",
    "NASA's X-59 took off @ 09:45 on 3/14 for $2,500.00 (approx.)!",
    "LOL 😀😀 that was sooo good 👍🏽👍🏽 #winning https://example.org/a?b=c&d=1",
    "U.S. Sen. McDonald-O'Neill, of Coeur d'Alene, wasn't there.",
)
_QUESTIONS = (
    "Who met Obama?",
    "Where is the library?",
    "What is the capital of 日本?",
    "when did it happen, and WHY",
    "Wie spät ist es?",
    "How much?",
    "🐌?",
    "which of the two films was the better one in the eyes of the critics",
)
_CANDIDATES = (
    "travel, food, politics",
    "positive, negative",
    "Sport,Kunst, naïve Fragen, 日本",
    "urgent",
    "film, book, music, a very long label of several words",
)


def texts(count: int = COUNT) -> list[str]:
    """Odd texts, texts of many languages, long ones, and the package's sentences, in a fixed order."""
    english = package_texts().texts
    found = [*drawn_texts.ALWAYS, *LANGUAGES]
    found += [" ".join(english[number :: len(english) // number]) for number in range(2, 8)]
    mixed = (f"{one} {other}" for one, other in zip(LANGUAGES, english, strict=False))
    return list(itertools.islice(itertools.chain(found, mixed, english), count))


def pairs(ask: Sequence[str] = LANGUAGES) -> list[list[str]]:
    """Each of five texts beside ten others, in turns short and long."""
    others = texts(COUNT)
    return [[ask[index % 5], other] for index, other in enumerate(others)]


def zero_shot() -> list[list[str]]:
    """Texts, each with candidate labels."""
    labels = itertools.cycle(_CANDIDATES)
    return [list(pair) for pair in zip(texts(), labels, strict=False)]


def questions() -> list[list[str]]:
    """Questions, each with a context, some of several windows."""
    contexts = [text for text in texts(2 * COUNT) if len(text.split()) > 2 and "\0" not in text]
    # In one that says a thing several times, many spans are as likely as each other.
    contexts = [text for text in contexts if text not in drawn_texts.ALWAYS[-2:]][: COUNT - 10]
    joined = [" ".join(contexts[number : number + 9]) for number in range(10)]
    asked = itertools.cycle(_QUESTIONS)
    return [list(pair) for pair in zip(asked, [*contexts, *joined], strict=False)]
