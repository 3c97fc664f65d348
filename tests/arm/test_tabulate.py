"""The table of what operators cost: fitted on invented counts, and the one that ships."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest
import tabulate
from cycles import Work
from tabulate import MEASURES, RUNTIME, WIDTHS, Counted, fit, write_table

from tfedge.inspect.work import weighted

KIND = "GELU INT8 > INT8"


def invented(rows: int, out: int) -> Counted:
    """Takes 1000 instructions, and 20 a row and 3 an element; of llvm-mca's cycles half."""
    instructions = (1000 + 20 * rows + 3 * out) / 1e6
    sizes = {"call": 1, "rows": rows, "out": out, "in": out}
    return Counted(KIND, sizes, Work(instructions, instructions / 2, 0, out / 64e6))


def test_weights_of_sizes() -> None:
    counts = [invented(rows, rows * width) for rows in (1, 16, 128) for width in (10, 300, 1200)]
    found = fit(counts)[KIND]
    for each in (*counts, invented(64, 64 * 768)):
        for measure in MEASURES:
            cost = getattr(each.work, measure)
            assert weighted(each.sizes, found[measure]) / 1e6 == pytest.approx(cost, rel=0.01)
    assert found["refills"] == {}


def test_a_table_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabulate, "TABLE", tmp_path / "operators.toml")
    kinds = fit([invented(1, 10), invented(2, 500), invented(7, 70)])
    write_table({"rpi4": kinds})
    assert tomllib.loads((tmp_path / "operators.toml").read_text()) == {RUNTIME: {"rpi4": kinds}}


def test_widths_differ() -> None:
    """A size that stands for two things would be changed for both."""
    for widths in WIDTHS.values():
        sizes = dataclasses.astuple(widths)
        assert len(set(sizes)) == len(sizes)
        assert widths.hidden == widths.heads * widths.head


def test_kinds_that_the_table_has_are_not_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tabulate, "TABLE", tmp_path / "operators.toml")
    write_table({"rpi4": fit([invented(1, 10)])})
    lacks = tabulate.lacking("rpi4")
    assert not lacks(invented(128, 9999))
    assert lacks(dataclasses.replace(invented(1, 10), kind="SOFTMAX INT8 > INT8"))
    assert tabulate.lacking("rpi5")(invented(1, 10))
