"""Reads what edgetpu_compiler prints."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

from tfedge.edgetpu.result import MAPPED

_TABLE = re.compile(r"Operator\s+Count\s+Status$")
_ROW = re.compile(r"([A-Z0-9_]+)\s+(\d+)\s+(\S.*)$")
_VALUE = re.compile(r"([^:]+):\s*(\d+(?:\.\d+)?)\s*(|B|KiB|MiB|GiB)$")
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_FIELDS = {
    "Number of Edge TPU subgraphs": "subgraphs",
    "Total number of operations": "operators",
    "Number of operations that will run on Edge TPU": "on_tpu",
    "Number of operations that will run on CPU": "on_cpu",
    "On-chip memory used for caching model parameters": "cached_bytes",
    "On-chip memory remaining for caching model parameters": "remaining_bytes",
    "Off-chip memory used for streaming uncached model parameters": "streamed_bytes",
}
# How a failure is announced, the most telling first.
_FAILURES = (
    r"ERROR: .*(?:builtin|Op builtin_code|static-sized)",
    r"Compilation failed: ",
    r"Internal compiler error",
    r"ERROR: ",
    r"Invalid model: |Model could not be parsed|Compilation failed!",
)


@dataclasses.dataclass(frozen=True)
class CompilerLog:
    """What a run of the compiler said; None where it did not."""

    version: str  # empty where it said none
    table: Counter[tuple[str, str]]  # by operator and status
    failure: str | None  # the most telling line of a failed run
    subgraphs: int | None = None
    operators: int | None = None
    # From the table where the lines that say so are absent, as they are when all are mapped.
    on_tpu: int | None = None
    on_cpu: int | None = None
    cached_bytes: int | None = None  # of parameters
    remaining_bytes: int | None = None
    streamed_bytes: int | None = None


def parse(text: str) -> CompilerLog:
    """Reads standard output, or a .log file, or both one after the other.

    A search (-d) prints attempts; what is said last counts.
    """
    lines = [line.strip() for line in text.splitlines()]
    found: dict[str, int] = {}
    table: Counter[tuple[str, str]] = Counter()
    version, inside = "", False
    for line in lines:
        if line.startswith("Edge TPU Compiler version "):
            version = line.rpartition(" ")[2]
        if (match := _VALUE.match(line)) and match[1] in _FIELDS:
            found[_FIELDS[match[1]]] = round(float(match[2]) * _UNITS[match[3]])
        if _TABLE.match(line):
            table, inside = Counter(), True
        elif inside and (match := _ROW.match(line)):
            table[match[1], match[3]] += int(match[2])
        elif line:
            inside = False
    if table and "on_tpu" not in found:
        mapped = sum(count for (_, status), count in table.items() if status == MAPPED)
        found |= {"on_tpu": mapped, "on_cpu": table.total() - mapped}
    failures = (line for kind in _FAILURES for line in lines if re.match(kind, line))
    return CompilerLog(version, table, next(failures, None), **found)
