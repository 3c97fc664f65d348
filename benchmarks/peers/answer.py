"""Answers texts with a peer's runtime: `python -m benchmarks.peers.answer ENGINE MODEL PEER.json`.

It speaks as the verb `clock` of `tfedge.runtime.worker`. PEER.json says what a bundle's manifest says
(`task`, `labels`, `max_length`, `normalize`) and holds its tokeniser (`tokenizer`, a tokenizer.json as
a string), so that texts are cut into the same tokens and answers are read off in the same way.

A text is run at its own length, without padding.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.engine import ENGINES, Engine, load_engine
from benchmarks.peers.settings import EXIT_INPUT, EXIT_MISSING
from tfedge.runtime import tasks
from tfedge.runtime.tokenizer import Encoded, TextEncoder
from tfedge.runtime.worker import serve


class Answers:
    """A peer's runtime with the tokenising and the answers of the board's."""

    def __init__(self, engine: Engine, peer: Mapping[str, Any]) -> None:
        """Args:
        peer: the contents of PEER.json.
        """
        self._engine = engine
        self._task = tasks.find(peer["task"])
        (self._output,) = self._task.outputs
        self._labels = tuple(peer["labels"] or ())
        self._normalize = bool(peer["normalize"])
        self._encoder = TextEncoder(peer["tokenizer"].encode(), peer["max_length"])

    def encode(self, text: str) -> Encoded:
        """The tokens of a text; raises TextError."""
        return self._encoder.encode(text)

    def answer(self, text: str, encoded: Encoded) -> dict[str, Any]:
        """What `tfedge-infer` would answer to a text, with this model's numbers."""
        outputs = {self._output: self._engine.answer(encoded.arrays(len(encoded)))}
        if self._normalize:
            outputs["embedding"] /= max(float(np.linalg.norm(outputs["embedding"])), 1e-12)
        return {"text": text, **self._task.answer(outputs, encoded, text, self._labels)}


def main(arguments: list[str] | None = None) -> int:
    """The program; returns its exit code: 0, 3 for an unusable file, 4 for a missing package."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.answer")
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("model", type=Path)
    parser.add_argument("peer", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args(arguments)
    try:
        peer = json.loads(options.peer.read_text(encoding="utf-8"))
        engine = load_engine(options.engine, options.model, options.threads)
    except ImportError as error:
        print(f"{error.name or error} is not installed", file=sys.stderr)
        return EXIT_MISSING
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return EXIT_INPUT
    answers = Answers(engine, peer)
    about = {"runtime": engine.runtime, "threads": options.threads}
    serve(answers.encode, answers.answer, about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
