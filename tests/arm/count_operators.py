"""Runs operators one by one on an emulated board: what each took, in `cycles.Work`."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from cycles import Core, Work, read_blocks

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests/arm/run"
_SECONDS = 7200


def emulate(board: str, program: Sequence[str], core: Core) -> tuple[list[Work], list[str]]:
    """Runs a Python program on a board.

    Returns:
        What was between each pair of marks, and what the program printed; raises RuntimeError where
        it fails.
    """
    with tempfile.NamedTemporaryFile(mode="r", suffix=".blocks") as file:
        environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
        environment |= {"ARM_BLOCKS": file.name, "ARM_PATH": str(ROOT)}
        done = subprocess.run(
            [str(RUN), board, *program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError((done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1])
        return core.works(list(read_blocks(file))), done.stdout.splitlines()


def count_files(board: str, paths: Sequence[Path], core: Core) -> Iterator[tuple[Path, Work]]:
    """What one run of each file took; those that the runtime refuses are named and left out."""
    if not paths:
        return
    with tempfile.NamedTemporaryFile(mode="w") as file:
        file.write("\n".join(map(str, paths)))
        file.flush()
        program = [str(ROOT / "tests/arm/invoke_operators.py"), file.name]
        works, said = emulate(board, program, core)
    ran = [Path(line.split()[1]) for line in said if line.startswith("RAN ")]
    for line in said:
        if line.startswith("FAILED "):
            print(line, flush=True)
    yield from zip(ran, works, strict=True)
