"""Answers texts and says how long each took.

The host compares models with it (`tfedge bench`), each in a process of its own that stays alive: the
verb `clock` of `tfedge.runtime.worker`. It first prints one line about itself, a JSON object with
`runtime` and `threads`. Then each line of standard input, a JSON list of texts, is a block; one line
answers it, a JSON object with

    answers         an object a text, as `tfedge-infer --json` prints it
    tokenize_s      seconds that making tokens of each text took
    infer_s         seconds from the tokens of each text to its answer
    peak_rss_bytes  the most memory that the process has had resident so far
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tfedge.runtime.errors import TextError
from tfedge.runtime.machine import peak_rss_bytes

Tokens = TypeVar("Tokens")


def serve(
    encode: Callable[[Any], Tokens],
    answer: Callable[[Any, Tokens], dict[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """Answers blocks from standard input until it ends; see the module.

    Args:
        encode: text -> its tokens; may raise TextError.
        answer: text, tokens -> the answer; may raise TextError.
        about: what the first line says.
    """
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        timed = [_time(text, encode, answer) for text in json.loads(line)]
        block = {
            "answers": [answered for answered, _, _ in timed],
            "tokenize_s": [seconds for _, seconds, _ in timed],
            "infer_s": [seconds for _, _, seconds in timed],
            "peak_rss_bytes": peak_rss_bytes(),
        }
        print(json.dumps(block), flush=True)


def _time(
    text: Any,
    encode: Callable[[Any], Tokens],
    answer: Callable[[Any, Tokens], dict[str, Any]],
) -> tuple[dict[str, Any], float, float]:
    """The answer to a text, the seconds for its tokens and those for the rest."""
    begin = encoded_at = time.perf_counter()
    try:
        encoded = encode(text)
        encoded_at = time.perf_counter()
        answered = answer(text, encoded)
    except TextError as error:
        answered = {"error": str(error)}
    return answered, encoded_at - begin, time.perf_counter() - encoded_at
