"""Asks one model from many threads: whether every answer is that of its text, and how fast they come.

    python tests/runtime/crowd.py --model tinybert_int8.tflite --workers 2

prints an object with the counts of what was `asked` and of the `wrong` answers, the processor time
`cpu_s`, and `texts_per_s` of the workers, each with one thread of the runtime, and of `one` by itself.
Both are the best of three rounds, in turn; a busy machine still makes the ratio worthless.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from typing import Any

from tfedge.runtime import Pipeline, load

WORDS = ("a", "good", "film", "where", "Ada", "was", "born", "bad", ",", "dull", "and", "Bob", "in")


def texts(count: int) -> list[str]:
    """Different ones, of 1 to 30 words."""
    pick = [
        [WORDS[(n * 7 + i * i + n // 13) % len(WORDS)] for i in range(1 + n % 30)]
        for n in range(count)
    ]
    return [" ".join(words) for words in pick]


def ask(model: Pipeline, asked: list[str], threads: int) -> tuple[list[Any], float]:
    """The answers, by `threads` that take the texts in turn, and the seconds they took."""
    answers: list[Any] = [None] * len(asked)

    def run(begin: int) -> None:
        for number in range(begin, len(asked), threads):
            answers[number] = model(asked[number])

    crowd = [threading.Thread(target=run, args=(begin,)) for begin in range(threads)]
    start = time.perf_counter()
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return answers, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--runtime")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--texts", type=int, default=500, help="of each thread")
    given = parser.parse_args()
    one = load(given.model, given.runtime, num_threads=1)
    several = load(given.model, given.runtime, num_threads=1, workers=given.workers)
    asked = texts(min(given.texts * given.threads, 1000))
    expected = [one(text) for text in asked]
    asked, expected = (
        (items * given.texts * given.threads)[: given.texts * given.threads]
        for items in (asked, expected)
    )
    wrong, rates, start = 0, {"one": 0.0, "texts_per_s": 0.0}, time.process_time()
    for _ in range(3 if given.texts <= 500 else 1):
        for name, model, threads in (("one", one, 1), ("texts_per_s", several, given.threads)):
            answers, seconds = ask(model, asked, threads)
            wrong += sum(found != right for found, right in zip(answers, expected, strict=True))
            rates[name] = max(rates[name], len(asked) / seconds)
    print(
        json.dumps(
            {
                "asked": len(asked),
                "wrong": wrong,
                "cpu_s": time.process_time() - start,
                **rates,
                "ratio": rates["texts_per_s"] / rates["one"],
            }
        )
    )


if __name__ == "__main__":
    main()
