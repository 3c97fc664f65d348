"""Cycles of blocks, on a core that a test invents, and by LLVM where it is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import cycles
import pytest
from cycles import Block, Core, Work, read_blocks

ADD, CALL, RETURN, MULTIPLY = "8b010000", "94000010", "d65f03c0", "4e22cc20"
with_llvm = pytest.mark.skipif(
    not shutil.which("llvm-mca-19"), reason="no llvm-mca-19; on Debian: apt install llvm-19"
)


def test_what_the_plugin_wrote() -> None:
    lines = [f"BLOCK 7 3 2 1 {ADD}{RETURN}", "END", f"BLOCK 1 0 0 0 {ADD}", "END"]
    assert list(read_blocks(lines)) == [
        [Block(7, (3, 2, 1), ADD + RETURN)],
        [Block(1, (0, 0, 0), ADD)],
    ]
    assert Block(7, (3, 2, 1), ADD + RETURN).instructions == 14


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Core:
    """A core on which each instruction takes two cycles."""
    monkeypatch.setattr(shutil, "which", lambda program: program)

    def two_each(_: Core, codes: Sequence[str]) -> list[float]:
        return [2 * len(code) / 8 for code in codes]

    monkeypatch.setattr(Core, "_cycles", two_each)
    return Core("rpi4", tmp_path)


def test_work(core: Core) -> None:
    blocks = [Block(1_000_000, (300, 100, 0), ADD + RETURN), Block(5, (50, 40, 0), MULTIPLY)]
    (found,) = core.works([blocks])
    assert found.instructions == pytest.approx(2.000005)
    assert found.mca == pytest.approx(2 * 2.000005)  # what is hardly run takes as long
    assert (found.refills, found.lines) == pytest.approx((210e-6, 140e-6))


def test_the_last_level_of_a_board(core: Core, tmp_path: Path) -> None:
    (found,) = Core("rpi5", tmp_path).works([[Block(1, (9, 5, 2), ADD)]])
    assert (found.refills, found.lines) == pytest.approx((7e-6, 2e-6))


def test_cycles_are_kept(core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core.works([[Block(10, (0, 0, 0), ADD)]])
    assert json.loads((tmp_path / "mca-cortex-a72.json").read_text()) == {ADD: 2}
    monkeypatch.setattr(Core, "_cycles", lambda self, codes: pytest.fail("asked again"))
    assert Core("rpi4", tmp_path).works([[Block(10, (0, 0, 0), ADD)]]) == [Work(10e-6, 20e-6)]


def test_without_llvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycles, "_MCA", "llvm-mca-of-nobody")
    with pytest.raises(RuntimeError, match="no llvm-mca-of-nobody; on Debian: apt install llvm-19"):
        Core("rpi4", tmp_path)


@with_llvm
def test_a_chain_takes_its_latency(tmp_path: Path) -> None:
    """Products into one register wait for each other, into four they do not. A call is a branch."""
    core = Core("rpi5", tmp_path)
    into = ["4e22cc20", "4e22cc23", "4e22cc24", "4e22cc25"]
    chained, apart, call = core._cycles([MULTIPLY * 4, "".join(into), CALL])
    assert chained > 1.5 * apart
    assert call < 5
