"""Counts the instructions that boards execute for one inference: `python tests/arm/count.py MODEL...`.

A count is the same for the same model, wheel and board. It is not time, but it ranks kernels as a
board would, on a machine that is busy or of another kind.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOARDS = ("rpi4", "rpi5", "jetson-nano")
_RUNS = 3
_SECONDS = 600
# Hashes that change and threads that wait for each other would count as well.
_REPEATABLE = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}


def instructions(emulator: Path, board: str, arguments: Sequence[str]) -> int:
    """What the board's Python executes with these arguments.

    Raises:
        RuntimeError: it fails; the message is its last line.
    """
    done = subprocess.run(
        [str(emulator), board, *arguments],
        env={**os.environ, **_REPEATABLE, "ARM_PATH": str(ROOT), "ARM_COUNT": "1"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    counted = re.search(r"^INSNS (\d+)$", done.stderr, re.MULTILINE)
    if done.returncode or counted is None:
        said = [line for line in done.stderr.splitlines() if not line.startswith("INSNS")]
        raise RuntimeError(said[-1] if said else f"exit code {done.returncode}")
    return int(counted[1])


def per_inference(emulator: Path, board: str, runtime: str, model: Path, length: int) -> float:
    """Million instructions of one run of the graph for `length` tokens, without the start."""
    program = [str(ROOT / "tests/arm/invoke.py"), runtime, str(model), str(length)]
    once, more = (instructions(emulator, board, [*program, str(count)]) for count in (0, _RUNS))
    return (more - once) / _RUNS / 1e6


def main() -> int:
    """The program; returns 1 where a count fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--board", action="append", choices=BOARDS)
    parser.add_argument("--runtime", action="append", choices=("tflite-runtime", "litert"))
    parser.add_argument("--emulator", type=Path, default=ROOT / "tests/arm/run")
    given = parser.parse_args()
    from tfedge.runtime.bundle import read_bundle

    code = 0
    print("board\truntime\tmodel\ttokens\tMinsn")
    for model in given.models:
        manifest = read_bundle(model).manifest
        for board in given.board or BOARDS:
            for runtime in given.runtime or manifest.runtimes:
                for length in sorted(manifest.signatures.values()):
                    try:
                        count = (
                            f"{per_inference(given.emulator, board, runtime, model, length):.1f}"
                        )
                    except RuntimeError as error:
                        count, code = f"failed: {error}", 1
                    row = (board, runtime, model.name, str(length), count)
                    print(*row, sep="\t", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
