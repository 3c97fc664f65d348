"""What training with rounding fixed for a checkpoint, kept as JSON beside its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfedge import files
from tfedge.errors import CheckpointError
from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.calibrate import Calibration
from tfedge.quantize.equalize import Factors
from tfedge.quantize.graphs import INTEGER
from tfedge.quantize.integer import NormPlan
from tfedge.quantize.ranges import Range

FILE = "tfedge_quantization.json"
_SCHEMA = 1
# MobileBERT's, the largest of those known, is 3 MB.
_LARGEST_BYTES = 32 << 20
_LARGEST_NUMBER = 1e30  # what float32 can still be scaled by
_MOST_LIMITS = 64
_KEYS = {"schema", "task", "graph", "weights_sha256", "factors", "plans", "mask_value", "ranges"}


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Everything about an int8 graph that is not in the checkpoint.

    Attributes:
        task: what the graph's head is for.
        graph: a key of `tfedge.quantize.graphs.GRAPHS`.
        factors: of equalisation, (C,) by the name of the norm.
        plans: how each layer norm is computed.
    """

    task: str
    factors: Factors
    plans: Mapping[str, NormPlan]
    calibration: Calibration
    graph: str = INTEGER


def write_decisions(folder: Path, decisions: Decisions) -> None:
    """Writes `FILE` into the folder of the checkpoint that the decisions belong to."""
    calibration = decisions.calibration
    content = {
        "schema": _SCHEMA,
        "task": decisions.task,
        "graph": decisions.graph,
        "weights_sha256": Checkpoint(folder).sha256,
        "factors": {name: value.tolist() for name, value in decisions.factors.items()},
        "plans": {name: dataclasses.asdict(plan) for name, plan in decisions.plans.items()},
        "mask_value": calibration.mask_value,
        "ranges": {name: [item.min, item.max] for name, item in calibration.ranges.items()},
    }
    files.write_json(folder / FILE, content)


def read_decisions(checkpoint: Checkpoint, task: str, graph: str = INTEGER) -> Decisions | None:
    """The decisions beside a checkpoint's weights, or None where there are none.

    Whether they fit the graph, `Lowering` finds out.

    Args:
        task: what the graph is to be built for.
        graph: which one is to be built.

    Raises:
        CheckpointError: the file is damaged, or belongs to other weights, another task or graph.
    """
    path = checkpoint.folder / FILE
    if not path.is_file():
        return None
    try:
        content = _read(path)
        if content["weights_sha256"] != checkpoint.sha256:
            raise ValueError("the weights have changed since it was written")
        if content["task"] != task:
            raise ValueError(f"it is for {content['task']!r:.40}, not {task}")
        if (made_for := content.get("graph", INTEGER)) != graph:
            raise ValueError(
                f"it is for the graph {made_for!r:.40}, not {graph} (convert --target)"
            )
        return Decisions(
            task=task,
            factors={
                name: _factors(value, name) for name, value in _object(content, "factors").items()
            },
            plans={name: _plan(value, name) for name, value in _object(content, "plans").items()},
            calibration=Calibration(
                ranges={
                    name: _range(value, name) for name, value in _object(content, "ranges").items()
                },
                mask_value=_mask_value(content["mask_value"]),
            ),
            graph=graph,
        )
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be used: {error}; delete it to calibrate the weights as they are, or "
            "repeat tfedge qad"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        data = file.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise ValueError(f"it is larger than {_LARGEST_BYTES >> 20} MiB")
    content = json.loads(data)
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise ValueError(f"it is no object with schema {_SCHEMA}, which this version reads")
    # Files from before there were other graphs say nothing of theirs.
    if content.keys() | {"graph"} != _KEYS:
        wrong = ", ".join(sorted((content.keys() | {"graph"}) ^ _KEYS))
        raise ValueError(f"keys missing or unknown: {wrong:.200}")
    return content


def _object(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = content[key]
    if not isinstance(value, dict):
        raise ValueError(f"{key} is no object")
    return value


def _number(value: Any, name: str) -> float:
    # Not isinstance(): True is an int.
    if type(value) not in (int, float) or not abs(value) <= _LARGEST_NUMBER:
        raise ValueError(f"{name:.100}: {value!r:.40} is no number up to {_LARGEST_NUMBER}")
    return float(value)


def _numbers(value: Any, name: str) -> list[float]:
    if not isinstance(value, list):
        raise ValueError(f"{name:.100}: a list of numbers is expected")
    return [_number(item, name) for item in value]


def _factors(value: Any, name: str) -> np.ndarray:
    factors = np.array(_numbers(value, name), np.float32)
    if not factors.size or not (factors >= np.finfo(np.float32).tiny).all():
        raise ValueError(f"{name:.100}: factors must be above 0")
    return factors


def _plan(value: Any, name: str) -> NormPlan:
    fields = {field.name for field in dataclasses.fields(NormPlan)}
    if not isinstance(value, dict) or value.keys() != fields:
        raise ValueError(f"{name:.100}: a plan has {', '.join(sorted(fields))}")
    least = _number(value["least_variance"], name)
    limits = _numbers(value["limits"], name)
    rising = all(low < high for low, high in zip([least, *limits], limits, strict=False))
    if not (least > 0 and rising and 0 < len(limits) <= _MOST_LIMITS):
        raise ValueError(
            f"{name:.100}: a plan has a least variance above 0 and 1 to {_MOST_LIMITS} rising limits"
        )
    if not isinstance(value["has_mean"], bool):
        raise ValueError(f"{name:.100}: has_mean is true or false")
    return NormPlan(least, tuple(limits), value["has_mean"])


def _mask_value(value: Any) -> float:
    number = _number(value, "mask_value")
    if not number < 0:
        raise ValueError(f"mask_value is {number}; padding is masked by a number below 0")
    return number


def _range(value: Any, name: str) -> Range:
    bounds = _numbers(value, name)
    if len(bounds) != 2:
        raise ValueError(f"{name:.100}: a range has two ends")
    return Range(*bounds)
