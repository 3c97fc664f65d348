"""Tries a tokeniser in a process with little time and memory: `python -m tfedge.runtime.trial`.

A `tokenizer.json` is a small program. It may ask for gigabytes, take hours for a text, or panic, which
ends a process or an answer; whoever loads one that comes from elsewhere tries it here first.
"""

from __future__ import annotations

import functools
import json
import string
import sys
from collections.abc import Iterator
from typing import Any

from tfedge.runtime import apart
from tfedge.runtime.errors import ModelFileError, one_line, shortened

_MEMORY_BYTES = 2 << 30  # the largest that is published, of 250,000 pieces, takes 0.4 GB
_SECONDS = 10  # of the processor; the same one takes 2
_MOST_GROWTH = 1000  # characters that replacements may make of one
# What patterns stumble over: every character that is common, and long runs of one kind of them.
_RUNS = ("a", "A", "1", " ", "\n", ".", "_", "é", "日", "ab ", "a1", "aA")
_TEXTS = (
    string.printable,
    "The naïve café in İstanbul, 3.14 % of #tag's don't re-do_it \u200d🐌👍🏽 日本語",
    *(run * times + end for run in _RUNS for times in (60, 4096) for end in ("!", "")),
)


@functools.lru_cache(maxsize=4)
def try_tokenizer(content: bytes) -> int:
    """The tokens of a `tokenizer.json`, one more than the largest number of any. Raises ModelFileError
    where tokenizers does not read it, it breaks, or it asks for more time or memory than one that is of
    use; the message is a sentence's end."""
    code, said = apart.run(__name__, [], apart.Limits(_SECONDS, _MEMORY_BYTES), content)
    if code:
        raise ModelFileError(said or f"the process that tried it ended with {code}")
    return int(said)


def _replacements(value: Any) -> Iterator[dict[str, Any]]:
    """All steps of a pipeline that replace a pattern by a content."""
    if isinstance(value, dict):
        if value.get("type") == "Replace":
            yield value
        for item in value.values():
            yield from _replacements(item)
    elif isinstance(value, list):
        for item in value:
            yield from _replacements(item)


def _check_growth(pipeline: Any) -> None:
    """Raises ValueError where replacements could make a text many times as long."""
    growth = 1
    for step in _replacements(pipeline):
        pattern = step.get("pattern")
        matched = pattern.get("String") if isinstance(pattern, dict) else None
        growth *= max(1, -(-len(str(step.get("content"))) // max(1, len(str(matched or "")))))
        if growth > _MOST_GROWTH:
            raise ValueError(
                f"its normalizer may replace a character by more than {_MOST_GROWTH} others"
            )


def examine(content: bytes) -> int:
    """The tokens of a `tokenizer.json`, see `try_tokenizer`, tried in this process. Raises ValueError
    where it could make a text many times as long, and what tokenizers raises, which may panic."""
    import tokenizers

    document = json.loads(content)
    if isinstance(document, dict):
        _check_growth([document.get("normalizer"), document.get("pre_tokenizer")])
    tokenizer = tokenizers.Tokenizer.from_buffer(content)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for text in _TEXTS:
        tokenizer.encode(text)
    tokenizer.encode("a", "b")
    return 1 + max(tokenizer.get_vocab().values(), default=-1)


def main() -> int:
    """The program, whose arguments are those of `limit`: a `tokenizer.json` comes from standard
    input; its number of tokens goes out, or what is wrong with it."""
    content = sys.stdin.buffer.read()
    apart.limit(*sys.argv[1:3])
    try:
        print(examine(content))
    except RecursionError:
        print("it is nested too deeply")
        return apart.REFUSED
    except BaseException as error:  # the panics of tokenizers are no Exceptions
        print(shortened(one_line(error) or type(error).__name__).encode(errors="replace").decode())
        return apart.REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
