"""Cycles of blocks of code on a board's core, by llvm-mca, and what `count_blocks.c` counted.

llvm-mca knows a core's pipelines but neither its caches nor its branches: a block's cycles are those
of its repetition with all data at hand. Debian's `llvm-19` has it; a Cortex-A76 stands there with
the model of the A57, and Neoverse N1, which is the same core, with its own.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

CORES = {"rpi4": "cortex-a72", "rpi5": "neoverse-n1", "jetson-nano": "cortex-a57"}
LEVELS = {
    "rpi4": 2,
    "rpi5": 3,
    "jetson-nano": 2,
}  # of caches; what the last one lacks comes from DRAM
_MCA, _MC = "llvm-mca-19", "llvm-mc-19"
_REPEATED = 100
_COVERED = 0.999  # of the instructions; the rest takes as long
_AT_ONCE = 500  # blocks that one call is given
_WORD = 8  # hexadecimal digits
# Calls are charged a hundred cycles, and what the kernel or a barrier takes is not in the model.
_CALLS = {"bl": "b", "blr": "br"}
_LEFT_OUT = ("svc", "mrs", "msr", "dmb", "dsb", "isb", "brk", "udf")
_DECODED = re.compile(r"^\t(\S+)(?:\t(.*))?$")


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code that ran."""

    executions: int
    misses: tuple[int, int, int]  # lines that level 1, 2, 3 lacked
    code: str  # words of eight hexadecimal digits

    @property
    def instructions(self) -> int:
        return self.executions * len(self.code) // _WORD


@dataclasses.dataclass(frozen=True)
class Work:
    """What one run did, in millions: instructions, llvm-mca's cycles, lines that level 1 lacked and a
    later one had, and lines from DRAM."""

    instructions: float = 0.0
    mca: float = 0.0
    refills: float = 0.0
    lines: float = 0.0

    def __sub__(self, other: Work) -> Work:
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Work(*(mine - theirs for mine, theirs in pairs))


def read_blocks(lines: Iterable[str]) -> Iterator[list[Block]]:
    """The blocks of each count that `count_blocks.c` wrote."""
    blocks: list[Block] = []
    for line in lines:
        kind, *fields = line.split()
        if kind == "END":
            yield blocks
            blocks = []
        else:
            executions, *misses = map(int, fields[:4])
            blocks.append(Block(executions, tuple(misses), fields[4]))


class Core:
    """A core of which llvm-mca has a model; keeps the cycles of each block in a file."""

    def __init__(self, board: str, folder: Path) -> None:
        """Args: board: see `CORES`. folder: for the file. Raises RuntimeError without LLVM."""
        for program in (_MCA, _MC):
            if shutil.which(program) is None:
                raise RuntimeError(f"no {program}; on Debian: apt install llvm-19")
        self._board, self._file = board, folder / f"mca-{CORES[board]}.json"
        self._known: dict[str, float] = {}
        if self._file.exists():
            self._known = json.loads(self._file.read_text())

    def works(self, counts: Sequence[Sequence[Block]]) -> list[Work]:
        """What running the blocks of each count took."""
        most = [self._most(blocks) for blocks in counts]
        self._learn({block.code for blocks in most for block in blocks} - self._known.keys())
        return [self._work(*pair) for pair in zip(counts, most, strict=True)]

    @staticmethod
    def _most(blocks: Sequence[Block]) -> list[Block]:
        """The blocks that make up nearly all instructions."""
        left = _COVERED * sum(block.instructions for block in blocks)
        found = []
        for block in sorted(blocks, key=lambda block: -block.instructions):
            if left > 0:
                found.append(block)
                left -= block.instructions
        return found

    def _work(self, blocks: Sequence[Block], most: Sequence[Block]) -> Work:
        total = sum(block.instructions for block in blocks)
        covered = sum(block.instructions for block in most)
        cycles = sum(block.executions * self._known[block.code] for block in most)
        misses = [sum(block.misses[level] for block in blocks) for level in range(3)]
        lines = misses[LEVELS[self._board] - 1]
        found = total, cycles * total / max(covered, 1), misses[0] - lines, lines
        return Work(*(number / 1e6 for number in found))

    def _learn(self, codes: set[str]) -> None:
        ordered = sorted(codes)
        for begin in range(0, len(ordered), _AT_ONCE):
            some = ordered[begin : begin + _AT_ONCE]
            self._known.update(zip(some, self._cycles(some), strict=True))
        if ordered:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self._known))

    def _cycles(self, codes: Sequence[str]) -> list[float]:
        """Cycles of one execution of each block."""
        regions = [
            f"# LLVM-MCA-BEGIN {place}\n{chr(10).join(instructions)}\n# LLVM-MCA-END\n"
            for place, instructions in enumerate(self._decoded(codes))
        ]
        options = [f"-iterations={_REPEATED}", "-skip-unsupported-instructions=lack-sched", "-json"]
        options += ["-resource-pressure=false", "-instruction-info=false"]
        said = json.loads(self._run(_MCA, options, "".join(regions)))
        found = {
            int(region["Name"]): region["SummaryView"]["TotalCycles"] / _REPEATED
            for region in said["CodeRegions"]
        }
        return [found[place] for place in range(len(codes))]

    def _decoded(self, codes: Sequence[str]) -> Iterator[list[str]]:
        """The instructions of each block as llvm-mca can take them."""
        words = [
            "".join(f"0x{byte:02x} " for byte in bytes.fromhex(word)[::-1])
            for code in codes
            for word in (code[place : place + _WORD] for place in range(0, len(code), _WORD))
        ]
        text = self._run(_MC, ["-disassemble"], "\n".join(words))
        lines = [found for line in text.splitlines() if (found := _DECODED.match(line))]
        decoded = iter([_simple(*found.groups("")) for found in lines if found[1] != ".text"])
        for code in codes:
            yield [next(decoded) for _ in range(0, len(code), _WORD)]

    def _run(self, program: str, options: Sequence[str], text: str) -> str:
        command = [program, "-triple=aarch64" if program == _MC else "-mtriple=aarch64"]
        command += [f"-mcpu={CORES[self._board]}", "-mattr=+all", *options]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{program}: {(done.stderr.splitlines() or ['failed'])[0]}")
        return done.stdout


def _simple(name: str, operands: str) -> str:
    if name in _LEFT_OUT:
        return "nop"
    return f"{_CALLS.get(name, name)} {operands}".strip()
