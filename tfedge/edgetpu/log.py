"""Reads what edgetpu_compiler prints."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from tfedge.edgetpu.result import MAPPED

_TABLE = re.compile(r"^Operator\s+Count\s+Status\s*$")
_ROW = re.compile(r"^([A-Z0-9_]+)\s+(\d+)\s+(\S.*?)\s*$")
_SIZE = re.compile(r"([\d.]+)\s*(B|KiB|MiB|GiB)\s*$")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_NUMBERS = {
    "subgraphs": "Number of Edge TPU subgraphs",
    "operators": "Total number of operations",
    "on_tpu": "Number of operations that will run on Edge TPU",
    "on_cpu": "Number of operations that will run on CPU",
}
_SIZES = {
    "cached_bytes": "On-chip memory used for caching model parameters",
    "remaining_bytes": "On-chip memory remaining for caching model parameters",
    "streamed_bytes": "Off-chip memory used for streaming uncached model parameters",
}
# How a failure is announced, the most telling first.
_FAILURES = (
    re.compile(r"^ERROR: .*(?:builtin|Op builtin_code|static-sized).*"),
    re.compile(r"^Compilation failed: .*"),
    re.compile(r"^Internal compiler error.*"),
    re.compile(r"^ERROR: .*"),
    re.compile(r"^(?:Invalid model: .*|Model could not be parsed.*|Compilation failed!.*)"),
)


@dataclasses.dataclass(frozen=True)
class CompilerLog:
    """What a run of the compiler said.

    Attributes:
        version: of the compiler; empty where it said none.
        table: (operator, status) -> how many.
        on_tpu, on_cpu: operators; from the table where the lines that say so are absent, as they
            are when all operators are mapped.
        cached_bytes, remaining_bytes, streamed_bytes: of parameters; None where not said.
        failure: the most telling line of a failed run; None where there is none.
    """

    version: str
    table: Mapping[tuple[str, str], int]
    subgraphs: int | None
    operators: int | None
    on_tpu: int | None
    on_cpu: int | None
    cached_bytes: int | None
    remaining_bytes: int | None
    streamed_bytes: int | None
    failure: str | None


def parse(text: str) -> CompilerLog:
    """Reads standard output, or a .log file, or both one after the other.

    A search (-d) prints attempts; what is said last counts.
    """
    lines = [line.strip() for line in text.splitlines()]
    found: dict[str, int | None] = dict.fromkeys((*_NUMBERS, *_SIZES))
    version = ""
    for line in lines:
        if line.startswith("Edge TPU Compiler version "):
            version = line.rpartition(" ")[2]
        label, _, value = line.partition(":")
        for name, wording in _NUMBERS.items():
            if label == wording and value.strip().isdigit():
                found[name] = int(value)
        for name, wording in _SIZES.items():
            if label == wording and (size := _SIZE.search(value)):
                found[name] = round(float(size[1]) * _UNITS[size[2]])
    table = _table(lines)
    if table and found["on_tpu"] is None:
        mapped = sum(count for (_, status), count in table.items() if status == MAPPED)
        found |= {"on_tpu": mapped, "on_cpu": sum(table.values()) - mapped}
    return CompilerLog(version=version, table=table, failure=_failure(lines), **found)


def _table(lines: list[str]) -> dict[tuple[str, str], int]:
    """The last table, which starts over at each head."""
    table: dict[tuple[str, str], int] = {}
    inside = False
    for line in lines:
        if _TABLE.match(line):
            table, inside = {}, True
        elif inside and (row := _ROW.match(line)):
            key = row[1], row[3]
            table[key] = table.get(key, 0) + int(row[2])
        elif inside and line:
            inside = False
    return table


def _failure(lines: list[str]) -> str | None:
    for pattern in _FAILURES:
        for line in lines:
            if pattern.match(line):
                return line
    return None
