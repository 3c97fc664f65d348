"""What turns counts into time, fitted on published latencies and on invented ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import calibrate
import numpy as np
import pytest
from calibrate import (
    FITTED,
    FORMS,
    Row,
    boards,
    errors_across,
    fit,
    main,
    read_rows,
    solve,
    told_error,
    toml,
)

ROWS = read_rows()


@pytest.mark.parametrize("board", boards(ROWS))
def test_rows_that_were_left_out(board: str) -> None:
    """The promise: of each board and runtime, 10 % on average and 22 % at worst."""
    found = fit(board, ROWS)
    for runtime in {row.runtime for row in found.rows}:
        errors = np.abs(found.errors[[row.runtime == runtime for row in found.rows]])
        assert errors.mean() <= 0.10
        assert errors.max() <= 0.22


def _invented(clock: float, scale: float, runtime: str = "LiteRT 2.3", extra: float = 0) -> Row:
    """A row that takes 0.5 cycles an instruction, 2 a refill and 10 ns a line from DRAM."""
    instructions, refills, lines = 100 * scale, 5 * scale**1.5, 2 / scale
    cycles = 0.5 * instructions + 2 * refills + 10 * clock * lines + extra
    ms = cycles / clock
    mca = 40 + scale
    return Row(
        runtime, f"net{scale}", "rpi4", clock, ms, instructions, mca, refills=refills, lines=lines
    )


def test_constants_of_invented_rows() -> None:
    """At two clocks, of which a line from DRAM takes the same time; ncnn's own time is its own."""
    rows = [_invented(clock, scale) for clock in (1.5, 2.4) for scale in (1, 2, 3, 5)]
    rows += [_invented(1.8, scale, "ncnn", 30) for scale in (1, 2, 4)]
    found = fit("rpi4", rows)
    expected = {
        "instructions": 0.5,
        "mca": 0,
        "refill_cycles": 2,
        "dram_ns": 10,
        "ncnn_mcycles": 30,
    }
    assert found.constants == pytest.approx(expected, abs=1e-6)
    assert found.worst == pytest.approx(0, abs=1e-6)


def test_a_row_does_not_predict_itself() -> None:
    """One that takes twice as long as its counts say is missed by half, and by its like not at all."""
    rows = [_invented(1.5, scale) for scale in (1, 2, 3, 4, 5, 6)]
    slow = _invented(1.5, 2.5, extra=_invented(1.5, 2.5).mcycles)
    found = fit("rpi4", [*rows, slow])
    assert found.errors[-1] == pytest.approx(-0.5, abs=0.01)
    assert found.family_errors[-1] == found.errors[-1]


def test_families_are_left_out_together() -> None:
    found = fit("rpi4", ROWS)
    (at,) = [place for place, row in enumerate(found.rows) if row.model == "effdet0_int8"]
    others = [row for row in found.rows if not row.model.startswith("effdet")]
    terms = FORMS["mca"]
    constant = solve(others, terms)[0]
    row = found.rows[at]
    alone = fit("rpi4", ROWS, "mca").family_errors[at]
    assert alone == pytest.approx(constant * row.mca / row.mcycles - 1)


def test_the_error_told_without_times_of_litert() -> None:
    """It is no less than that of LiteRT's rows elsewhere by the constants of ncnn's."""
    ncnn = [_invented(1.8, scale, "ncnn") for scale in (1, 2, 4, 5, 6)]
    slow = dataclasses.replace(_invented(1.5, 3), published_ms=_invented(1.5, 3).published_ms / 0.7)
    other = [dataclasses.replace(row, board="rpi5") for row in ncnn]
    rows = [*ncnn, slow, *other]
    assert errors_across(rows) == {"rpi4": pytest.approx([-0.3])}
    assert told_error(fit("rpi5", rows), rows) == pytest.approx(0.3)
    both = fit("rpi4", rows)
    assert told_error(both, rows) == both.worst


def test_constants_are_not_below_zero() -> None:
    rows = [_invented(1.5, scale) for scale in (1, 2, 3)]
    assert (solve(rows, FORMS["both and misses"]) >= 0).all()


def test_what_ships() -> None:
    assert FITTED.read_text() == toml([fit(board, ROWS) for board in boards(ROWS)])


def test_what_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["calibrate.py", "--each"])
    monkeypatch.setattr(calibrate, "FITTED", tmp_path / "boards.toml")
    assert main() == 0
    assert (tmp_path / "boards.toml").read_text() == FITTED.read_text()
    said = capsys.readouterr().out
    assert "rpi5\tLiteRT 2.3\t4\t" in said
    assert said.count("\neffdet") == 0  # each row begins with its board
    assert "rpi4\tncnn 20240820\tresnet18\t191.1\t" in said
    assert "vision_transformer" in said.splitlines()[-1]
    assert "jetson-nano\tncnn 20211208\t23\t" in said
