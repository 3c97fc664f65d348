"""Answers texts and says how long each took: `python -m tfedge.runtime.clock MODEL`.

The host compares models with it (`tfedge bench`), each in a process of its own that stays alive.
It first prints one line about itself, a JSON object with `runtime` and `threads`. Then each line of
standard input, a JSON list of texts, is a block; one line answers it, a JSON object with

    answers         an object a text, as `tfedge-infer --json` prints it
    tokenize_s      seconds that making tokens of each text took
    infer_s         seconds from the tokens of each text to its answer
    peak_rss_bytes  the most memory that the process has had resident so far
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tfedge.runtime.errors import InferenceError, TextError
from tfedge.runtime.machine import peak_rss_bytes
from tfedge.runtime.pipeline import Pipeline, load
from tfedge.runtime.quiet import quiet_start
from tfedge.runtime.runtimes import RUNTIMES, runtime_name

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


def _about(pipeline: Pipeline) -> dict[str, Any]:
    return {"runtime": runtime_name(pipeline.runtime), "threads": pipeline.num_threads}


def main(arguments: list[str] | None = None) -> int:
    """The program; returns its exit code, those of `tfedge-infer`."""
    parser = argparse.ArgumentParser(prog="python -m tfedge.runtime.clock", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--runtime", choices=sorted(RUNTIMES))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--length", type=int, help="tokens of the one graph that is to run")
    options = parser.parse_args(arguments)
    try:
        with quiet_start():
            pipeline = load(options.model, options.runtime, options.threads, length=options.length)
        serve(pipeline.encode, pipeline.answer, _about(pipeline))
    except InferenceError as error:
        print(f"tfedge: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
