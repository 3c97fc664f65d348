"""The JSON that commands print, which programs read: every key and its type, as `keys.txt` has them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bars
import pytest

from tfedge.edgetpu.check import check
from tfedge.measure.board import Board
from tfedge.measure.evaluate import evaluate
from tfedge.records import as_json
from tfedge.runtime.conditions import Conditions
from tfedge.tasks.base import Rows

ROWS = Rows(["a good film", "awful"], ["1", "0"], "toy.tsv")
EXPECTED = Path(__file__).with_name("keys.txt").read_text(encoding="utf-8").splitlines()


def keys(content: Any, place: str) -> Iterator[str]:
    """`bench.contestants[].threads int` and so on."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from keys(value, f"{place}.{key}")
    elif isinstance(content, list):
        for value in content:
            yield from keys(value, f"{place}[]")
    else:
        yield f"{place} {type(content).__name__}"


@pytest.mark.parametrize("name", ["inspect", "bench", "check", "eval"])
def test_keys(name: str, request: pytest.FixtureRequest, toys: Path) -> None:
    if name in ("inspect", "bench"):
        path = request.getfixturevalue("inspected" if name == "inspect" else "race")
        content = json.loads(path.read_text())
    elif name == "check":
        content = as_json(check(toys / "int8.tflite"))
    else:
        model, against = toys / "int8.tflite", toys / "classifier.tflite"
        content = as_json(evaluate(model, against, ROWS, Board(threads=1), bars.Bars()))
    found = sorted(set(keys(content, name)))
    # Whether the machine says how its clock is governed depends on the machine, as what is around does.
    varying = ("bench.machine.governor", "bench.surroundings.")
    found = [line for line in found if not line.startswith(varying)]
    if name == "bench":
        around = content["surroundings"]
        assert set(around) == {"before", "after", "unsteady"}
        moment = {field.name for field in dataclasses.fields(Conditions)}
        assert set(around["before"]) == set(around["after"]) == moment
    assert found == [line for line in EXPECTED if line.startswith(f"{name}.")]
