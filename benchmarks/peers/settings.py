"""What all makers of peers' files share: their command line, their exit codes, the calibration.

A maker is `python -m MODULE SOURCE OUTPUT PEER.json --kind KIND ...`, SOURCE being the checkpoint, or a
.tflite to quantise. It prints the path of each file that it has written.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfedge.runtime.errors import TextError
from tfedge.runtime.tokenizer import Encoded, TextEncoder

EXIT_INPUT = 3
EXIT_MISSING = 4


@dataclasses.dataclass(frozen=True)
class Settings:
    """The contents of PEER.json: what a converted model's manifest says, and how to calibrate.

    Attributes:
        task, labels, max_length, normalize: as in the manifest.
        lengths: tokens of the model's graphs.
        tokenizer: a tokenizer.json as a string.
        calibration: texts that choose the ranges of integers.
    """

    task: str
    labels: list[str] | None
    max_length: int
    normalize: bool
    lengths: list[int]
    tokenizer: str
    calibration: list[str]

    def encoded(self, length: int | None = None) -> Iterator[Encoded]:
        """The tokens of the calibration texts, cut to `length`; those that have none are left out."""
        limit = min(length or self.max_length, self.max_length)
        encoder = TextEncoder(self.tokenizer.encode(), limit)
        for text in self.calibration:
            try:
                yield encoder.encode(text)
            except TextError:
                continue


Make = Callable[[Path, Path, Settings, list[str]], Iterator[Path]]


def run_maker(
    name: str, kinds: Sequence[str], make: Make, arguments: list[str] | None = None
) -> int:
    """A maker's program: `python -m NAME SOURCE OUTPUT PEER.json --kind KIND ...`.

    It prints the path of each file when it is written, and an error as one line.

    Args:
        make: from source, output, settings and kinds to the paths of what it writes.

    Returns:
        The exit code: 0, 3 for an unusable source, 4 for a missing package.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("source", type=Path, help="Hugging Face folder, or a .tflite")
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument("settings", type=Path, metavar="PEER.json")
    parser.add_argument("--kind", choices=kinds, action="append", required=True)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # pages of them about tracing and deprecation
    logging.disable(logging.WARNING)
    try:
        content: dict[str, Any] = json.loads(options.settings.read_text(encoding="utf-8"))
        for path in make(options.source, options.output, Settings(**content), options.kind):
            print(path, flush=True)
    except ImportError as error:
        print(f"{error.name or error} is not installed", file=sys.stderr)
        return EXIT_MISSING
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return EXIT_INPUT
    return 0
