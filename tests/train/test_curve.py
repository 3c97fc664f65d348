"""Learning curves: parts that are trained on first, and what is expected of more."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from records import Record, request

from tfedge.errors import InputError
from tfedge.tasks.base import Rows
from tfedge.train.curve import carried_on, with_curve
from tfedge.train.result import Trained
from tfedge.train.run import Request
from tfedge.train.training import TrainingOptions

ROWS = Rows([f"text {number}" for number in range(80)], ["x", "y"] * 40, "train.tsv")


def trained(part: Request) -> Trained:
    """Right but for 4 of the texts' number."""
    part.output.mkdir(parents=True)
    figures = {"accuracy": 1 - 4 / len(part.texts)}
    return Trained(
        str(part.output), figures["accuracy"], "text-classification", "accuracy", figures
    )


def asked(output: Path, rows: Rows = ROWS) -> Request:
    given = request(Path("model"), rows, output, TrainingOptions(), Record())  # type: ignore[arg-type]
    return dataclasses.replace(given, evaluation=ROWS)


def test_parts_have_each_label_and_are_not_kept(tmp_path: Path) -> None:
    seen: list[Rows] = []

    def train(part: Request) -> Trained:
        assert isinstance(part.texts, Rows)
        seen.append(part.texts)
        return trained(part)

    found = with_curve(asked(tmp_path / "model"), train)
    assert [len(rows) for rows in seen] == [20, 40, 80]
    assert [(rows.truth or []).count("x") for rows in seen] == [10, 20, 40]
    assert found.curve is not None
    assert found.curve.points == {20: 0.8, 40: 0.9, 80: 0.95}
    assert found.curve.doubled == pytest.approx(0.975)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_killed_curve_goes_on(tmp_path: Path) -> None:
    counts: list[int] = []

    def train(part: Request) -> Trained:
        counts.append(len(part.texts))
        if counts == [20, 40]:
            raise KeyboardInterrupt
        return trained(part)

    with pytest.raises(KeyboardInterrupt):
        with_curve(asked(tmp_path / "model"), train)
    with_curve(asked(tmp_path / "model"), train)
    assert counts == [20, 40, 40, 80]


@pytest.mark.parametrize(
    ("points", "expected"),
    [({10: 0.5, 20: 0.75, 40: 0.875}, 0.9375), ({10: 0.9, 40: 0.8}, 0.8), ({1: 1.0, 4: 1.0}, 1.0)],
)
def test_what_is_wrong_falls_as_a_power(points: dict[int, float], expected: float) -> None:
    assert carried_on(points) == pytest.approx(expected, abs=1e-5)


def test_too_few_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"64 or more to train on; train\.tsv has 40"):
        with_curve(asked(tmp_path / "model", ROWS.part(range(40))), trained)
