"""Answers as lines of text, one line an answer whatever the text contained."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from tfedge.runtime.benchmark import Timing
from tfedge.runtime.errors import one_line

# Stands where the answer would, so that lines of answers match lines of texts; no probability is "-".
UNANSWERED = "error\t-"


def as_json(fields: Mapping[str, Any]) -> str:
    """`fields` as JSON without line breaks."""
    return json.dumps(fields, ensure_ascii=False, allow_nan=False)


def as_text(answer: Mapping[str, Any]) -> str:
    """An answer of any task for people and for `cut`."""
    if "error" in answer:
        return UNANSWERED
    if "scores" in answer:
        return "\t".join(
            f"{one_line(name)}\t{score:.4f}" for name, score in answer["scores"].items()
        )
    if "embedding" in answer:
        return " ".join(f"{value:.6f}" for value in answer["embedding"])
    if "tokens" in answer:
        return " ".join(
            f"{one_line(item['token'])}/{one_line(item['label'])}" for item in answer["tokens"]
        )
    return f"{one_line(answer['answer'])}\t{answer['score']:.4f}"


def timing_as_json(timing: Timing) -> str:
    return as_json(dataclasses.asdict(timing))


def timing_as_text(timing: Timing) -> str:
    return (
        f"model    {timing.model}\n"
        f"runtime  {timing.runtime}, threads: {timing.threads}\n"
        f"runs     {timing.runs}, texts: {timing.texts}\n"
        f"median   {timing.median_ms:.2f} ms\n"
        f"p90      {timing.p90_ms:.2f} ms\n"
        f"speed    {timing.tokens_per_s:.0f} tokens/s"
    )


def encode(line: str) -> bytes:
    """UTF-8, whatever the locale is; what is not Unicode (lone surrogates) becomes U+FFFD."""
    return line.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode() + b"\n"
