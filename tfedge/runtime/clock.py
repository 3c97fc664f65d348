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
from typing import Any

from tfedge.runtime.errors import TextError
from tfedge.runtime.machine import peak_rss_bytes


def serve(
    encode: Callable[[Any], Any],
    answer: Callable[[Any, Any], dict[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """Answers blocks from standard input until it ends; see the module.

    Args:
        encode: text -> its tokens; may raise TextError.
        answer: text, tokens -> the answer; may raise TextError.
        about: what the first line says.
    """

    def timed(text: Any) -> tuple[dict[str, Any], float, float]:
        begin = encoded_at = time.perf_counter()
        try:
            encoded = encode(text)
            encoded_at = time.perf_counter()
            answered = answer(text, encoded)
        except TextError as error:
            answered = {"error": str(error)}
        return answered, encoded_at - begin, time.perf_counter() - encoded_at

    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        done = [timed(text) for text in json.loads(line)]
        block = {
            "answers": [answered for answered, _, _ in done],
            "tokenize_s": [seconds for _, seconds, _ in done],
            "infer_s": [seconds for _, _, seconds in done],
            "peak_rss_bytes": peak_rss_bytes(),
        }
        print(json.dumps(block), flush=True)
