"""The JSON beside trained weights: written, read back, and refused where it is damaged."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders

from tfedge.errors import CheckpointError
from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.calibrate import Calibration
from tfedge.quantize.integer import PLAIN_PLAN, NormPlan
from tfedge.quantize.prepare import Lowering, Shape
from tfedge.quantize.ranges import Range
from tfedge.quantize.record import FILE, Decisions, read_decisions, write_decisions

TASK = "text-classification"
NORM = "embeddings.LayerNorm"
Change = Callable[[dict[str, Any]], Any]


def decisions() -> Decisions:
    """Of some encoder, but of none in particular."""
    return Decisions(
        task=TASK,
        rewrites={
            "factors": {NORM: np.array([0.1, 1 / 3, 7], np.float32)},
            "plans": {NORM: NormPlan(0.1, (1.0, 1e3 / 7), has_mean=False)},
        },
        calibration=Calibration({"a.b": Range(-1 / 3, 0.1)}, mask_value=-12.3),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint with its decisions."""
    path = toy_folders.write_folder(tmp_path / "toy", small=True)
    write_decisions(path, decisions())
    return path


def rewrite(folder: Path, change: Change) -> None:
    content = json.loads((folder / FILE).read_text())
    change(content)
    (folder / FILE).write_text(json.dumps(content))


def refusal(folder: Path, task: str = TASK) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_decisions(Checkpoint(folder), task)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert f"{FILE} cannot be used: " in message
    assert "delete it to calibrate" in message
    return message


def test_what_was_written_is_read(folder: Path) -> None:
    found = read_decisions(Checkpoint(folder), TASK)
    assert found is not None
    wanted = decisions()
    factors = found.rewrites["factors"][NORM]
    assert factors.dtype == np.float32
    assert np.array_equal(factors, wanted.rewrites["factors"][NORM])
    assert (found.task, found.rewrites["plans"], found.calibration) == (
        TASK,
        wanted.rewrites["plans"],
        wanted.calibration,
    )


def test_most_checkpoints_have_none(tmp_path: Path) -> None:
    checkpoint = Checkpoint(toy_folders.write_folder(tmp_path / "toy", small=True))
    assert read_decisions(checkpoint, TASK) is None


def test_other_weights_are_refused(folder: Path) -> None:
    toy_folders.write_folder(folder, small=True, seed=2)
    assert "the weights have changed since it was written" in refusal(folder)


def test_another_task_is_refused(folder: Path) -> None:
    assert f"it is for '{TASK}', not sentence-embedding" in refusal(folder, "sentence-embedding")


def test_another_graph_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="for the graph 'integer', not edgetpu"):
        read_decisions(Checkpoint(folder), TASK, "edgetpu")


def test_files_from_before_there_were_graphs(folder: Path) -> None:
    rewrite(folder, lambda content: content.pop("graph"))
    found = read_decisions(Checkpoint(folder), TASK)
    assert found is not None
    assert found.graph == "integer"
    with pytest.raises(CheckpointError, match="for the graph 'integer', not edgetpu"):
        read_decisions(Checkpoint(folder), TASK, "edgetpu")


def _set(*path: Any) -> Change:
    """A change of the value at `path[:-1]` to `path[-1]`."""
    *keys, last, value = path

    def change(content: dict[str, Any]) -> None:
        place: Any = content
        for key in keys:
            place = place[key]
        place[last] = value

    return change


DAMAGES: dict[str, tuple[Change, str]] = {
    "schema": (_set("schema", 2), "schema: Input should be 1"),
    "no hash": (lambda content: content.pop("weights_sha256"), "weights_sha256"),
    "surplus": (_set("more", 1), "more"),
    "task": (_set("task", ["x"] * 1000), "task: Input should be a valid string"),
    "factors": (_set("factors", [1, 2]), "factors: Input should be an object"),
    "factor": (_set("factors", NORM, 1.0), f"factors.{NORM}: Input should be a valid array"),
    "zero": (_set("factors", NORM, 0, 0.0), "factors must be above 0"),
    "negative": (_set("factors", NORM, 0, -1.0), "factors must be above 0"),
    "no factor": (_set("factors", NORM, []), "factors must be above 0"),
    "text": (_set("factors", NORM, 0, "1"), f"factors.{NORM}.0: Input should be a valid number"),
    "true": (_set("factors", NORM, 0, True), f"factors.{NORM}.0: Input should be a valid number"),
    "nan": (_set("factors", NORM, 0, float("nan")), "Input should be a finite number"),
    "infinite": (_set("mask_value", float("-inf")), "mask_value: Input should be a finite number"),
    "huge": (_set("mask_value", -(10**400)), "mask_value: Input should be a finite number"),
    "very large": (_set("mask_value", -1e31), "greater than or equal to -10000000000"),
    "surplus of a plan": (_set("plans", NORM, "more", 1), "more: Unexpected keyword argument"),
    "mask": (_set("mask_value", 0.0), "mask_value: Input should be less than 0"),
    "plan": (_set("plans", NORM, 3), f"plans.{NORM}: Input should be an object"),
    "part of a plan": (
        lambda content: content["plans"][NORM].pop("limits"),
        f"plans.{NORM}.limits: Field required",
    ),
    "variance": (_set("plans", NORM, "least_variance", 0.0), "rising limits"),
    "limits": (_set("plans", NORM, "limits", [3.0, 2.0]), "rising limits"),
    "low limit": (_set("plans", NORM, "limits", [0.01]), "rising limits"),
    "no limits": (_set("plans", NORM, "limits", []), "rising limits"),
    "many limits": (_set("plans", NORM, "limits", list(range(1, 99))), "rising limits"),
    "mean": (_set("plans", NORM, "has_mean", 1), "has_mean: Input should be a valid boolean"),
    "range": (_set("ranges", "a.b", [1.0]), "ranges.a.b.1: Field required"),
    "range without 0": (_set("ranges", "a.b", [1.0, 2.0]), "a range must include 0"),
    "long name": (_set("ranges", "x" * 9999, [1.0, "y" * 9999]), "Input should be a valid number"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damages_are_refused(folder: Path, damage: str) -> None:
    change, message = DAMAGES[damage]
    rewrite(folder, change)
    assert message in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 200_000, b'{"schema": 1}'])
def test_what_is_no_record_is_refused(folder: Path, content: bytes) -> None:
    (folder / FILE).write_bytes(content)
    refusal(folder)


def test_huge_file_is_refused(folder: Path) -> None:
    with (folder / FILE).open("ab") as file:
        file.truncate(33 << 20)
    assert "larger than 32 MiB" in refusal(folder)


def test_decisions_of_another_encoder_are_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="other factors than the graph") as caught:
        Lowering(Checkpoint(folder), Shape(TASK, 2, 16), [], decisions=decisions())
    assert "encoder.layer.0.output.LayerNorm" in str(caught.value)


def _of(found: Decisions, key: str) -> dict[str, Any]:
    decision = found.rewrites[key]
    assert isinstance(decision, dict)
    return decision


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory, sequences: list[np.ndarray]) -> Decisions:
    """What a toy's graph was decided to be, which fits it."""
    folder = toy_folders.write_folder(tmp_path_factory.mktemp("decided") / "toy", small=True)
    checkpoint, shape = Checkpoint(folder), Shape(TASK, 2, 16)
    lowering = Lowering(checkpoint, shape, sequences[:4])
    ranges = dict.fromkeys(lowering.dynamic.tapped, Range(-1.0, 1.0))
    found = lowering.decisions(Calibration(ranges, -10.0))
    Lowering(checkpoint, shape, [], decisions=found)
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: _of(found, "factors").pop(NORM), f"other factors .*: {NORM}; "),
        (
            lambda found: _of(found, "factors").update({NORM: np.ones(3)}),
            f"other factors .*: {NORM}; ",
        ),
        (lambda found: _of(found, "plans").pop(NORM), f"other plans .*: {NORM}; "),
        (lambda found: _of(found, "plans").update(x=PLAIN_PLAN), "other plans .*: x; "),
        (lambda found: found.calibration.ranges.pop(NORM), f"other ranges .*: {NORM}; "),
        (lambda found: found.calibration.ranges.update(x=Range(0, 1)), "other ranges .*: x; "),
    ],
)
def test_every_norm_and_tensor_is_looked_for(
    folder: Path, decided: Decisions, change: Callable[[Decisions], Any], message: str
) -> None:
    found = copy.deepcopy(decided)
    change(found)
    with pytest.raises(CheckpointError, match=message):
        Lowering(Checkpoint(folder), Shape(TASK, 2, 16), [], decisions=found)
